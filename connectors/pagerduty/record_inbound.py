"""V3 webhooks as linked records: the incident as the event shows it, and notes.

The event does not tell when the incident was changed last, as the REST API does, so what it shows has no version: it is
a reason to read the incident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from connectors.kit import limits
from connectors.kit.contract import Delivery, Integration, Message
from connectors.kit.intake import as_object, digest, ingested_message, misunderstood
from connectors.kit.ticket_messages import note_message, ticket_message
from connectors.kit.tickets import Note
from connectors.pagerduty import signature
from connectors.pagerduty.incidents import instant, ticket_of

_NOTE = "incident.annotated"


class PagerDutyRecordReceives:
    """Webhooks V3."""

    content_types = frozenset({"application/json"})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By signature; PagerDuty signs no time, so replays are removed by ``event.id`` instead."""
        del now
        return signature.verify(delivery.body, delivery.headers.get(signature.HEADER, ""), secrets)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """One message a webhook; what is about no incident is kept raw."""
        event = as_object(as_object(document).get("event"))
        kind, data = event.get("event_type"), as_object(event.get("data"))
        delivery_id = limits.identity(event.get("id")) or digest(integration.source, delivery.body)
        if not isinstance(kind, str):
            return [misunderstood(integration, delivery_id, delivery.body, "no event with an event_type")]
        if kind == _NOTE:
            return [_note(integration, event, data, delivery.body)]
        if data.get("type") != "incident" or not kind.startswith("incident."):
            return [ingested_message(integration, delivery_id, kind, delivery.body)]
        shown = ticket_of({**data, "incident_number": data.get("number")})
        if shown is None:
            return [misunderstood(integration, delivery_id, delivery.body, f"{kind} without an incident id")]
        ticket = replace(shown, version=0, updated_at=instant(event.get("occurred_at")), updated_by=_agent(event))
        envelope, observed = ticket_message(integration, ticket, "webhook", delivery.body)
        return [(replace(envelope, id=delivery_id), observed)]


def _note(integration: Integration, event: dict[str, Any], data: dict[str, Any], raw: bytes) -> Message:
    note = Note(
        external_id=limits.identity(as_object(data.get("incident")).get("id")),
        note_id=limits.identity(data.get("id")),
        author=_agent(event),
        text=limits.text(data.get("content"), limits.TEXT_CHARACTERS),
        at=instant(event.get("occurred_at")),
        kind="note",
    )
    return note_message(integration, note, raw)


def _agent(event: dict[str, Any]) -> str:
    agent = as_object(event.get("agent"))
    return limits.text(agent.get("summary") or agent.get("id"))
