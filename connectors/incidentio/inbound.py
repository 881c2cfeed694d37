"""Webhooks to messages: the incident as it was then, and what people said with a change of status.

A delivery is ``{"event_type": T, T: <payload>}``. They come in any order, and more than once; of private incidents they
hold the id alone, which is a reason to read the incident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from connectors.incidentio import signature
from connectors.incidentio.config import IncidentIoConfig
from connectors.incidentio.incidents import REAL, instant, ticket_of
from connectors.kit import limits
from connectors.kit.contract import Delivery, Integration, Message
from connectors.kit.intake import as_object, digest, ingested_message, misunderstood
from connectors.kit.ticket_messages import note_message, ticket_message
from connectors.kit.tickets import Note, Ticket

_PUBLIC, _PRIVATE = "public_incident.", "private_incident."
_SHOWN = frozenset({f"{_PUBLIC}incident_created_v2", f"{_PUBLIC}incident_updated_v2"})
_MOVED = f"{_PUBLIC}incident_status_updated_v2"


class IncidentIoReceives:
    """Webhooks."""

    content_types = frozenset({"application/json"})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By signature, which covers the id and the time of the delivery."""
        return signature.verify(delivery, secrets, now)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """The incident, and its message where there is one; each with a raw body that parses to it alone."""
        body = as_object(document)
        kind = body.get("event_type")
        delivery_id = digest(integration.source, delivery.body)
        if not isinstance(kind, str) or not kind:
            return [misunderstood(integration, delivery_id, delivery.body, "no event_type")]
        payload = as_object(body.get(kind))
        if kind in _SHOWN:
            return [_observed(integration, kind, payload, payload, delivery.body)]
        if kind == _MOVED:
            return _moved(integration, payload, delivery.body)
        if kind.startswith(_PRIVATE) and payload.get("id"):
            return [_hint(integration, payload, delivery)]
        return [ingested_message(integration, delivery_id, kind, delivery.body)]


def _observed(
    integration: Integration, kind: str, incident: dict[str, Any], payload: dict[str, Any], whole: bytes
) -> Message:
    config = IncidentIoConfig.model_validate(dict(integration.config))
    raw = whole or orjson.dumps({"event_type": kind, kind: payload})
    ticket = ticket_of(config, incident)
    if ticket is None:
        return misunderstood(integration, digest(integration.source, raw), raw, f"{kind} without an incident id")
    if limits.text(incident.get("mode")) not in REAL:
        return ingested_message(integration, digest(integration.source, raw), kind, raw)
    return ticket_message(integration, ticket, "webhook", raw)


def _moved(integration: Integration, payload: dict[str, Any], body: bytes) -> list[Message]:
    incident = as_object(payload.get("incident"))
    message = limits.text(payload.get("message"), limits.TEXT_CHARACTERS)
    if "name" not in incident and message:  # what was kept of a delivery for its message alone
        return [_note(integration, incident, message, body)]
    observed = _observed(integration, _MOVED, incident, {**payload, "message": ""}, b"" if message else body)
    if not message or not incident.get("id"):
        return [observed]
    reference = {"id": incident["id"], "updated_at": incident.get("updated_at")}
    raw = orjson.dumps({"event_type": _MOVED, _MOVED: {"incident": reference, "message": message}})
    return [observed, _note(integration, reference, message, raw)]


def _note(integration: Integration, incident: dict[str, Any], message: str, raw: bytes) -> Message:
    external_id, at = limits.identity(incident.get("id")), instant(incident.get("updated_at"))
    note_id = digest(external_id, str(at), message)
    return note_message(integration, Note(external_id, note_id, "", message, at, "status_update"), raw)


def _hint(integration: Integration, payload: dict[str, Any], delivery: Delivery) -> Message:
    """An incident of which only the id is told: each delivery is news, whatever it looks like."""
    external_id = limits.identity(payload["id"])
    told = signature.header(delivery, "id")
    ticket = Ticket(external_id, "", "", "", 0, 0, "", {})
    envelope, observed = ticket_message(integration, ticket, "webhook", delivery.body)
    parts = ("hint", told) if told else ("hint", delivery.body)
    return replace(envelope, id=digest(integration.source, *parts)), observed
