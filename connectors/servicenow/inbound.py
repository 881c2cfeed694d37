"""Deliveries of the Business Rule (docs/itsm-servicenow.md) to messages: the ticket as it is now, and new notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from connectors.kit import limits
from connectors.kit.contract import Delivery, Integration, Message
from connectors.kit.intake import as_object, digest, ingested_message, misunderstood
from connectors.kit.ticket_messages import deleted_message, files_message, note_message, ticket_message
from connectors.kit.tickets import FilesSeen, Note
from connectors.servicenow import signature
from connectors.servicenow.config import ServiceNowConfig
from connectors.servicenow.records import milliseconds, text, ticket_of, whole_number

_TICKET = frozenset({"incident.insert", "incident.update"})
_DELETED, _NOTE, _FILES = "incident.delete", "incident.note", "incident.attachment"


class ServiceNowReceives:
    """Webhooks of the rule."""

    content_types = frozenset({"application/json"})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By signature, which covers the time."""
        return signature.verify(delivery, secrets, now)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """The ticket, then a message for each new journal entry; each with a raw body that parses to it alone."""
        body = as_object(document)
        kind, external_id = limits.text(body.get("event")), limits.identity(text(body.get("sys_id")))
        delivery_id = digest(integration.source, delivery.body)
        if not kind or not external_id:
            return [misunderstood(integration, delivery_id, delivery.body, "no event with a sys_id")]
        if kind == _DELETED:
            return [deleted_message(integration, external_id, "webhook", delivery.body)]
        if kind == _FILES:
            seen = _seen(external_id, body)
            return [files_message(integration, seen, "webhook", delivery.body)]
        entries = [as_object(one) for one in body["journal"]] if isinstance(body.get("journal"), list) else []
        if kind not in {*_TICKET, _NOTE}:
            return [ingested_message(integration, delivery_id, kind, delivery.body)]
        notes = [_note(integration, external_id, entry) for entry in entries]
        if kind == _NOTE:
            return notes
        return [_observed(integration, body, delivery.body if not entries else b""), *notes]


def _seen(external_id: str, body: dict[str, Any]) -> FilesSeen:
    """The files that the rule of ``sys_attachment`` tells: all of the record, and when it did."""
    told, at = body.get("attachments"), whole_number(body.get("at"))
    ids = [limits.identity(text(one)) for one in told] if isinstance(told, list) else []
    return FilesSeen(external_id, tuple(filter(None, ids)), complete=True, at=at or 0)


def _observed(integration: Integration, body: dict[str, Any], whole: bytes) -> Message:
    config = ServiceNowConfig.model_validate(dict(integration.config))
    ticket = ticket_of(config, {**as_object(body.get("record")), "sys_id": body["sys_id"]})
    raw = whole or orjson.dumps({**body, "journal": []})
    if ticket is None:
        return misunderstood(integration, digest(integration.source, raw), raw, "no record with a sys_id")
    return ticket_message(integration, ticket, "webhook", raw)


def _note(integration: Integration, external_id: str, entry: dict[str, Any]) -> Message:
    raw = orjson.dumps({"event": _NOTE, "sys_id": external_id, "journal": [entry]})
    return note_message(integration, note_of(external_id, entry), raw)


def note_of(external_id: str, entry: dict[str, Any]) -> Note:
    """The note that an entry of ``sys_journal_field`` is; the same by webhook and by poll."""
    return Note(
        external_id=external_id,
        note_id=limits.identity(text(entry.get("sys_id"))),
        kind=limits.text(entry.get("element")) or "work_notes",
        author=limits.text(entry.get("sys_created_by")),
        text=limits.text(entry.get("value"), limits.TEXT_CHARACTERS),
        at=milliseconds(text(entry.get("sys_created_on"))),
    )
