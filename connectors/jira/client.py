"""Jira's REST API v3 as a ticket system (``connectors.kit.tickets``)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors.jira import changes as changelog
from connectors.jira import searching, transitions
from connectors.jira.calls import Site, not_gone
from connectors.jira.config import JiraConfig
from connectors.jira.documents import document, plain
from connectors.jira.issues import STATUS_FIELDS, SYNCED, asked, edit, ticket_of
from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp
from connectors.kit.intake import as_object
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Failure, FieldChange, Page, Ticket, Versioning

_DONE = "done"
_MAX_LINK_TITLE = 255
Read = Ticket | Gone | TransientFailure | PermanentFailure


class JiraTickets:
    """Issues of one project. There is neither a conditional write nor a counter: the changelog tells who else wrote."""

    versioning: Versioning = "clock"
    rate_per_s = 8.0

    async def create(
        self, http: ProviderHttp, integration: Integration, marker: str, fields: Mapping[str, str]
    ) -> Ticket | Failure:
        """Make an issue with the marker as a label; its workflow's first status may take transitions afterwards.

        Where those fail the issue is there nevertheless, as it is: what became of it shows that the status differs.
        """
        at = _site(http, integration)
        given = _edit(at.config, fields)
        if isinstance(given, PermanentFailure):
            return given
        made = {"project": {"key": at.config.project}, "issuetype": {"name": at.config.issue_type}}
        body = {"fields": {**given, **made, "labels": [marker, SYNCED]}}
        answer = not_gone(await at.call("POST", "/issue", body))
        if not isinstance(answer, Answer):
            return answer
        external_id = str(as_object(answer.json()).get("id", ""))
        ticket = await _read(at, external_id)
        if isinstance(ticket, Ticket) and STATUS_FIELDS & set(fields):
            await transitions.move(at, external_id, _status(ticket), fields)
            ticket = await _read(at, external_id)
        return TransientFailure(ticket.reason) if isinstance(ticket, Gone) else ticket

    async def find(self, http: ProviderHttp, integration: Integration, marker: str) -> Sequence[Ticket] | Failure:
        """By label, and among the issues that are too new for search."""
        return await searching.with_marker(_site(http, integration), marker)

    async def read(self, http: ProviderHttp, integration: Integration, external_id: str) -> Read:
        """The issue now."""
        return await _read(_site(http, integration), external_id)

    async def write(
        self, http: ProviderHttp, integration: Integration, external_id: str, changes: Mapping[str, str]
    ) -> Read:
        """Edit fields, then follow transitions, then read back."""
        at = _site(http, integration)
        given = _edit(at.config, changes)
        if isinstance(given, PermanentFailure):
            return given
        if given:
            answer = await at.call("PUT", _path(external_id), {"fields": given})
            if not isinstance(answer, Answer):
                return answer
        if STATUS_FIELDS & set(changes):
            ticket = await _read(at, external_id)
            if not isinstance(ticket, Ticket):
                return ticket
            failed = await transitions.move(at, external_id, _status(ticket), changes)
            if failed is not None:
                return failed
        return await _read(at, external_id)

    async def mark(self, http: ProviderHttp, integration: Integration, external_id: str, marker: str) -> Read:
        """Put the marker among the labels, or take ours off; the labels of others stay."""
        at = _site(http, integration)
        ticket = await _read(at, external_id)
        return await _label(at, ticket, marker) if isinstance(ticket, Ticket) else ticket

    async def history(
        self, http: ProviderHttp, integration: Integration, external_id: str, since: int
    ) -> Sequence[FieldChange] | Gone | TransientFailure | PermanentFailure:
        """From the changelog."""
        return await changelog.since(_site(http, integration), external_id, since)

    async def comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str, *, public: bool
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Add a comment. In a service project one that is not public is internal; elsewhere everybody reads it."""
        at = _site(http, integration)
        internal = [] if public else [{"key": "sd.public.comment", "value": {"internal": True}}]
        body = {"body": document(text), "properties": internal}
        answer = await at.call("POST", f"{_path(external_id)}/comment", body)
        return str(as_object(answer.json()).get("id", "")) if isinstance(answer, Answer) else answer

    async def find_comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Found | NotFound | Unknown:
        """Search the newest comments, which are read from the database."""
        at = _site(http, integration)
        answer = await at.call("GET", f"{_path(external_id)}/comment?orderBy=-created&maxResults=100")
        if isinstance(answer, TransientFailure):
            return Unknown(answer.reason, answer.retry_after_s)
        if not isinstance(answer, Answer):
            return NotFound()  # for good: sending will say why
        comments = as_object(answer.json()).get("comments")
        for one in map(as_object, comments if isinstance(comments, list) else ()):
            if marker in plain(one.get("body")):
                return Found(str(one.get("id", "")))
        return NotFound()

    async def refer(
        self, http: ProviderHttp, integration: Integration, external_id: str, link_id: str, url: str, title: str
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """A remote link; Jira replaces the one that has the same ``globalId``."""
        at = _site(http, integration)
        body = {
            "globalId": f"system=incidents&id={link_id}",
            "application": {"name": "Incidents"},
            "object": {"url": url, "title": title[:_MAX_LINK_TITLE]},
        }
        answer = await at.call("POST", f"{_path(external_id)}/remotelink", body)
        return str(as_object(answer.json()).get("id", "")) if isinstance(answer, Answer) else answer

    async def retire(self, http: ProviderHttp, integration: Integration, external_id: str, text: str) -> Read:
        """Comment, resolve as a duplicate, and take our label off, last: until then it is not done."""
        at = _site(http, integration)
        ticket = await _read(at, external_id)
        if not isinstance(ticket, Ticket) or not ticket.marker:
            return ticket
        noted = await self.comment(http, integration, external_id, text, public=False)
        if not isinstance(noted, str):
            return noted
        changes = {"status_category": _DONE, "resolution": at.config.duplicate_resolution}
        failed = await transitions.move(at, external_id, _status(ticket), changes)
        if failed is not None and not isinstance(failed, PermanentFailure):
            return failed
        return await _label(at, ticket, "")

    async def list_changed(
        self, http: ProviderHttp, integration: Integration, cursor: Cursor, limit: int
    ) -> Page | Failure:
        """By time of change and id, with comments; Jira keeps no trace of what was deleted."""
        return await searching.changed(_site(http, integration), cursor, limit, int(time.time() * 1000))


def _site(http: ProviderHttp, integration: Integration) -> Site:
    return Site(http, integration, JiraConfig.model_validate(dict(integration.config)))


def _path(external_id: str) -> str:
    return f"/issue/{quote(external_id, safe='')}"


async def _read(at: Site, external_id: str) -> Read:
    answer = await at.call("GET", f"{_path(external_id)}?fields={','.join(asked(at.config))}")
    if not isinstance(answer, Answer):
        return answer
    ticket = ticket_of(at.config, as_object(answer.json()))
    return ticket or TransientFailure("an answer without an issue")


async def _label(at: Site, ticket: Ticket, marker: str) -> Read:
    wanted = [{"add": marker}, {"add": SYNCED}] if marker else [{"remove": ticket.marker}, {"remove": SYNCED}]
    if marker and ticket.marker and ticket.marker != marker:
        wanted.append({"remove": ticket.marker})
    answer = await at.call("PUT", _path(ticket.external_id), {"update": {"labels": wanted}})
    return await _read(at, ticket.external_id) if isinstance(answer, Answer) else answer


def _status(ticket: Ticket) -> tuple[str, str]:
    return ticket.fields.get("status", ""), ticket.fields.get("status_category", "")


def _edit(config: JiraConfig, changes: Mapping[str, str]) -> dict[str, Any] | PermanentFailure:
    """The fields to edit; a field that is not followed, or a value that cannot be one, is refused here."""
    wrong = sorted(set(changes) - set(config.fields))
    if wrong:
        return PermanentFailure(f"not among the followed fields (extra_fields): {', '.join(wrong)}")
    try:
        return edit(config, changes)
    except ValueError as error:
        return PermanentFailure(str(error))
