"""PagerDuty's incidents as a ticket system (``connectors.kit.tickets``); https://developer.pagerduty.com/api-reference.

The marker is the ``incident_key``, which nobody can change afterwards: one that was linked by command carries none.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp, classify
from connectors.kit.intake import as_object
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Failure, FieldChange, Note, Page, Ticket, Versioning
from connectors.pagerduty import log_entries
from connectors.pagerduty.config import RecordsConfig
from connectors.pagerduty.incidents import FIELDS, ticket_of
from connectors.pagerduty.outbound import ALREADY, RATE_LIMITED, error_codes, throttled
from connectors.pagerduty.requests import authorized, objects

_DUPLICATE = 2002
_RESOLVED = "resolved"
Read = Ticket | Gone | TransientFailure | PermanentFailure


class PagerDutyRecords:
    """Incidents of one service. There is no conditional write; log entries tell who changed the status."""

    versioning: Versioning = "clock"
    rate_per_s = 10.0

    async def create(
        self, http: ProviderHttp, integration: Integration, marker: str, fields: Mapping[str, str]
    ) -> Ticket | Failure:
        """Make an incident under the marker as its key; while it is open, PagerDuty makes no second one."""
        given = await _edit(http, integration, fields)
        if not isinstance(given, dict):
            return given
        given.pop("status", None)  # an incident begins as triggered
        service = {"id": _config(integration).service_id, "type": "service_reference"}
        body = {"incident": {**given, "type": "incident", "incident_key": marker, "service": service}}
        answer = await _call(http, integration, "POST", "/incidents", body)
        if isinstance(answer, Answer) and _DUPLICATE in error_codes(answer.json()):
            found = await self.find(http, integration, marker)
            if not isinstance(found, Sequence):
                return found
            return found[0] if found else TransientFailure("it is there already, and not found yet")
        shown = _shown(answer)
        return PermanentFailure(shown.reason) if isinstance(shown, Gone) else shown

    async def find(self, http: ProviderHttp, integration: Integration, marker: str) -> Sequence[Ticket] | Failure:
        """By key, over all time, the oldest first."""
        query = urlencode({"incident_key": marker, "date_range": "all", "sort_by": "created_at:asc", "limit": "100"})
        answer = await _call(http, integration, "GET", f"/incidents?{query}")
        if not isinstance(answer, Answer) or not answer.succeeded:
            return _failed(answer)
        found = [ticket_of(one) for one in objects(answer, "incidents")]
        return [one for one in found if one is not None and one.marker == marker]

    async def read(self, http: ProviderHttp, integration: Integration, external_id: str) -> Read:
        """The incident now, by its id or its number."""
        return _shown(await _call(http, integration, "GET", _path(external_id.removeprefix("#"))))

    async def write(
        self, http: ProviderHttp, integration: Integration, external_id: str, changes: Mapping[str, str]
    ) -> Read:
        """Edit fields and status; that the status is so already is no failure."""
        given = await _edit(http, integration, changes)
        if not isinstance(given, dict):
            return given
        body = {"incident": {"type": "incident_reference", **given}}
        answer = await _call(http, integration, "PUT", _path(external_id), body)
        if isinstance(answer, Answer) and error_codes(answer.json()) & ALREADY:
            others = {name: value for name, value in changes.items() if name != "status"}
            if others:
                return await self.write(http, integration, external_id, others)
            return await self.read(http, integration, external_id)
        return _shown(answer)

    async def mark(self, http: ProviderHttp, integration: Integration, external_id: str, marker: str) -> Read:
        """As it is: the key of an incident cannot be changed."""
        del marker
        return await self.read(http, integration, external_id)

    async def history(
        self, http: ProviderHttp, integration: Integration, external_id: str, since: int
    ) -> Sequence[FieldChange] | Gone | TransientFailure | PermanentFailure:
        """From the incident's log entries."""
        answer = await _call(http, integration, "GET", log_entries.of_incident(external_id, since))
        if not isinstance(answer, Answer) or not answer.succeeded:
            return _failed(answer)
        return log_entries.changes(answer, _config(integration).user_id, since)

    async def comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str, *, public: bool
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Add a note; all of them are for responders."""
        del public
        answer = await _call(http, integration, "POST", f"{_path(external_id)}/notes", {"note": {"content": text}})
        if not isinstance(answer, Answer) or not answer.succeeded:
            return _gone(answer) or _failed(answer)
        return str(as_object(as_object(answer.json()).get("note")).get("id", ""))

    async def find_comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Found | NotFound | Unknown:
        """Search the notes."""
        answer = await _call(http, integration, "GET", f"{_path(external_id)}/notes")
        if not isinstance(answer, Answer) or not answer.succeeded:
            failed = _failed(answer)
            if isinstance(failed, TransientFailure):
                return Unknown(failed.reason, failed.retry_after_s)
            return NotFound()  # for good: sending will say why
        for note in objects(answer, "notes"):
            if marker in str(note.get("content", "")):
                return Found(str(note.get("id", "")))
        return NotFound()

    async def retire(self, http: ProviderHttp, integration: Integration, external_id: str, text: str) -> Read:
        """Note why, then resolve; one that is resolved is left alone. The key stays on it."""
        now = await self.read(http, integration, external_id)
        if not isinstance(now, Ticket) or now.fields.get("status") == _RESOLVED:
            return now
        noted = await self.comment(http, integration, external_id, text, public=False)
        if not isinstance(noted, str):
            return noted
        return await self.write(http, integration, external_id, {"status": _RESOLVED})

    async def list_changed(
        self, http: ProviderHttp, integration: Integration, cursor: Cursor, limit: int
    ) -> Page | Failure:
        """By the account's log entries, the only list that is by time of change."""
        begin = cursor.began or cursor.updated_at or int(time.time() * 1000) - log_entries.FROM_NOW_MS
        entries: list[dict[str, Any]] = []
        while True:
            answer = await _call(http, integration, "GET", log_entries.of_account(begin, len(entries)))
            if not isinstance(answer, Answer) or not answer.succeeded:
                return _failed(answer)
            entries += objects(answer, "log_entries")
            if not as_object(answer.json()).get("more"):
                break
            if len(entries) >= log_entries.MOST:
                return PermanentFailure(f"more than {log_entries.MOST} log entries since the last reading")
        page, notes = log_entries.page(entries, cursor, begin, limit), list[Note]()
        for external_id in log_entries.annotated(entries) if page.is_last else ():
            answer = await _call(http, integration, "GET", f"{_path(external_id)}/notes")
            if not isinstance(answer, Answer) or not answer.succeeded:
                return _failed(answer)
            notes += log_entries.notes(answer, external_id, begin)
        return replace(page, notes=notes)


def _config(integration: Integration) -> RecordsConfig:
    return RecordsConfig.model_validate(dict(integration.config))


def _path(external_id: str) -> str:
    return f"/incidents/{quote(external_id, safe='')}"


async def _call(
    http: ProviderHttp, integration: Integration, method: str, path: str, body: Mapping[str, Any] | None = None
) -> Answer | Failure:
    config = _config(integration)
    return await authorized(http, integration, config.api_url, config.from_email, method, path, body)


def _shown(answer: Answer | Failure) -> Read:
    if not isinstance(answer, Answer) or not answer.succeeded:
        return _gone(answer) or _failed(answer)
    ticket = ticket_of(as_object(as_object(answer.json()).get("incident")))
    return ticket or TransientFailure("an answer without an incident")


def _gone(answer: Answer | Failure) -> Gone | None:
    is_gone = isinstance(answer, Answer) and answer.status == HTTPStatus.NOT_FOUND
    return Gone("no such incident, or hidden from this key") if is_gone else None


def _failed(answer: Answer | Failure) -> Failure:
    """What an answer other than success means, in PagerDuty's own words."""
    if not isinstance(answer, Answer):
        return answer
    now = time.time()
    if RATE_LIMITED in error_codes(answer.json()):
        return throttled(answer, now)
    error = as_object(as_object(answer.json()).get("error"))
    told = error.get("errors")
    words = [str(error.get("message", "")), *(map(str, told) if isinstance(told, list) else ())]
    return classify(answer, now, ": ".join(dict.fromkeys(filter(None, words))))


async def _edit(http: ProviderHttp, integration: Integration, changes: Mapping[str, str]) -> dict[str, Any] | Failure:
    """Changes as the API takes them; a priority is given by its id, which is looked up each time."""
    wrong = sorted(set(changes) - set(FIELDS))
    if wrong:
        return PermanentFailure(f"not among the followed fields: {', '.join(wrong)}")
    given: dict[str, Any] = {name: value for name, value in changes.items() if name != "priority"}
    if "priority" not in changes:
        return given
    if not changes["priority"]:
        return {**given, "priority": None}
    answer = await _call(http, integration, "GET", "/priorities?limit=100")
    if not isinstance(answer, Answer) or not answer.succeeded:
        return _failed(answer)
    known = {str(one.get("name")): str(one.get("id")) for one in objects(answer, "priorities")}
    if changes["priority"] not in known:
        return PermanentFailure(f"no priority {changes['priority']!r}; there are {', '.join(known) or 'none'}")
    return {**given, "priority": {"id": known[changes["priority"]], "type": "priority_reference"}}
