"""Jira's webhooks to messages (https://developer.atlassian.com/cloud/jira/platform/webhooks/).

An issue comes in as it is shown, with its own time of change, so that deliveries may arrive in any order. Its
description is left out: webhooks carry it in another notation than the API, and the two must not look like an edit.
A comment is told twice, by itself and as an update of its issue; both have the same id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from connectors.jira import signature
from connectors.jira.config import JiraConfig
from connectors.jira.documents import plain
from connectors.jira.files import files_of
from connectors.jira.issues import milliseconds, ticket_of
from connectors.kit import limits
from connectors.kit.contract import Delivery, Integration, Message
from connectors.kit.intake import as_object, digest, ingested_message, misunderstood
from connectors.kit.ticket_messages import deleted_message, files_message, note_message, ticket_message
from connectors.kit.tickets import FilesSeen, Note

_SHOWN: Final = frozenset({"jira:issue_created", "jira:issue_updated"})
_DELETED, _COMMENTED = "jira:issue_deleted", "comment_created"
_FILES: Final = "issue_attachments"
"""How the part of a webhook that is about files is kept; Jira itself sends no event of this name."""


class JiraReceives:
    """Webhooks of a site."""

    content_types = frozenset({"application/json"})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By signature; Jira signs no time, so replays are removed by the ids that are derived from the content."""
        del now
        return signature.verify(delivery.body, delivery.headers.get(signature.HEADER, ""), secrets)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """The issue and its new comment, each with a raw body that parses to it alone; anything else is kept raw."""
        body = as_object(document)
        kind, issue = limits.text(body.get("webhookEvent")), as_object(body.get("issue"))
        delivery_id = digest(integration.source, delivery.body)
        if not kind:
            return [misunderstood(integration, delivery_id, delivery.body, "no webhookEvent")]
        if kind not in {*_SHOWN, _DELETED, _COMMENTED, _FILES}:
            return [ingested_message(integration, delivery_id, kind, delivery.body)]
        external_id = limits.identity(issue.get("id"))
        if not external_id:
            return [misunderstood(integration, delivery_id, delivery.body, f"{kind} without an issue id")]
        if kind == _DELETED:
            return [deleted_message(integration, external_id, "webhook", delivery.body)]
        files = _files(integration, external_id, issue)
        if kind == _FILES:
            return files or [misunderstood(integration, delivery_id, delivery.body, f"{kind} without files")]
        notes = [_note(integration, issue, as_object(body["comment"]))] if body.get("comment") else []
        if kind == _COMMENTED:
            return notes or [misunderstood(integration, delivery_id, delivery.body, f"{kind} without a comment")]
        is_new = not notes or body.get("issue_event_type_name") == "issue_commented"
        shown = _issue(integration, body, delivery.body if not notes and not files else b"")
        return [shown, *(notes if is_new else []), *files]


def _issue(integration: Integration, body: dict[str, Any], whole: bytes) -> Message:
    config = JiraConfig.model_validate(dict(integration.config))
    issue = as_object(body["issue"])
    fields = {name: value for name, value in as_object(issue.get("fields")).items() if name != "description"}
    user = limits.text(as_object(body.get("user")).get("accountId"))
    raw = whole or orjson.dumps(_without_parts(body, issue))
    ticket = ticket_of(config, {**issue, "fields": fields}, user)
    if ticket is None:
        return misunderstood(integration, digest(integration.source, raw), raw, "an issue without an id")
    return ticket_message(integration, ticket, "webhook", raw)


def _without_parts(body: dict[str, Any], issue: dict[str, Any]) -> dict[str, Any]:
    """A webhook without its comment and files, which are kept by themselves."""
    fields = {name: value for name, value in as_object(issue.get("fields")).items() if name != "attachment"}
    kept = {name: value for name, value in body.items() if name != "comment"}
    return {**kept, "issue": {**issue, "fields": fields}}


def _files(integration: Integration, external_id: str, issue: dict[str, Any]) -> list[Message]:
    """Which files the issue has, where the webhook shows them."""
    seen = files_seen(external_id, issue)
    if seen is None:
        return []
    fields = {"attachment": [{"id": one} for one in seen.file_ids], "updated": issue["fields"].get("updated")}
    raw = orjson.dumps({"webhookEvent": _FILES, "issue": {"id": issue.get("id"), "fields": fields}})
    return [files_message(integration, seen, "webhook", raw)]


def files_seen(external_id: str, issue: Mapping[str, Any]) -> FilesSeen | None:
    """The files of an issue that is shown with its ``attachment`` field."""
    shown = as_object(issue.get("fields")).get("attachment")
    if not isinstance(shown, list):
        return None
    ids = tuple(one.external_id for one in files_of(shown))
    return FilesSeen(external_id, ids, complete=True, at=milliseconds(issue["fields"].get("updated")))


def _note(integration: Integration, issue: dict[str, Any], comment: dict[str, Any]) -> Message:
    reference = {"id": issue.get("id"), "key": issue.get("key")}
    raw = orjson.dumps({"webhookEvent": _COMMENTED, "issue": reference, "comment": comment})
    return note_message(integration, note_of(limits.identity(issue.get("id")), comment), raw)


def note_of(external_id: str, comment: dict[str, Any]) -> Note:
    """The note that a comment is; the same by webhook and by poll."""
    author = as_object(comment.get("author"))
    return Note(
        external_id=external_id,
        note_id=limits.identity(comment.get("id")),
        author=limits.text(author.get("displayName") or author.get("accountId")),
        text=limits.text(plain(comment.get("body")), limits.TEXT_CHARACTERS),
        at=milliseconds(comment.get("created")),
    )
