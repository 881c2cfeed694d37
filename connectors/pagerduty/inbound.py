"""V3 webhooks to messages (https://developer.pagerduty.com/docs/webhooks/v3-overview). Every field is optional.

How an incident of PagerDuty becomes a signal: it is one alert, identified by its id; ``service`` is the service's
name; PagerDuty knows no host. ``error_type`` is the title without its changing parts (numbers, hexadecimal ids), so
that the default rule "service + error type" joins what is the same trouble and keeps apart what is not; the
``incident_key`` would not do: PagerDuty makes a random one for whatever was not sent through its Events API.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from connectors.kit import limits
from connectors.kit.contract import Delivery, Integration, Message
from connectors.kit.intake import as_object, digest, in_range, ingested_message, misunderstood, signal_message
from connectors.kit.markers import has_marker, is_ticket_marker
from connectors.pagerduty import signature
from streams.domain.envelope import milliseconds
from streams.domain.signals import Signal, SignalStatus

_SIGNALS: Final[dict[str, SignalStatus]] = {
    "incident.triggered": "firing",
    "incident.reopened": "firing",
    "incident.resolved": "resolved",
}
_PRIORITY = re.compile(r"P([1-5])\b", re.IGNORECASE)
_CHANGING = re.compile(r"\b(?:0x)?(?=[0-9a-f-]*\d)[0-9a-f][0-9a-f.,:-]*", re.IGNORECASE)


class PagerDutyReceives:
    """Webhooks V3."""

    content_types = frozenset({"application/json"})

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """By signature; PagerDuty signs no time, so replays are removed by ``event.id`` instead."""
        del now
        return signature.verify(delivery.body, delivery.headers.get(signature.HEADER, ""), secrets)

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """One message a webhook; what is no V3 event is kept as a problem."""
        event = as_object(as_object(document).get("event"))
        kind = event.get("event_type")
        if not isinstance(kind, str):
            delivery_id = digest(integration.source, delivery.body)
            return [misunderstood(integration, delivery_id, delivery.body, "no event with an event_type")]
        delivery_id = limits.identity(event.get("id")) or digest(integration.source, delivery.body)
        data = as_object(event.get("data"))
        status = _SIGNALS.get(kind)
        if status is None or is_ticket_marker(limits.identity(data.get("incident_key"))):  # a record that we made
            return [_ingested(integration, delivery_id, kind, event, data, delivery.body)]
        external_id = limits.identity(data.get("id"))
        if not external_id:
            return [misunderstood(integration, delivery_id, delivery.body, f"{kind} without an incident id")]
        return [signal_message(integration, delivery_id, _signal(integration, event, data, status, delivery.body))]


def _signal(
    integration: Integration, event: dict[str, Any], data: dict[str, Any], status: SignalStatus, raw: bytes
) -> Signal:
    external_id = limits.identity(data.get("id"))
    title = limits.text(data.get("title"), limits.TITLE_CHARACTERS) or f"PagerDuty incident {external_id}"
    link = limits.text(data.get("html_url"), limits.LABEL_CHARACTERS)
    labels = {
        "pagerduty_number": limits.text(data.get("number")),
        "pagerduty_urgency": limits.text(data.get("urgency")),
        "pagerduty_incident_key": limits.text(data.get("incident_key")),
    }
    return Signal(
        title=title,
        status=status,
        fingerprint=external_id,
        severity=severity(data),
        service=limits.text(as_object(data.get("service")).get("summary")),
        error_type=error_type(title),
        event_time=_occurred(event),
        connector=integration.connector,
        integration_id=integration.integration_id,
        external_id=external_id,
        links={"pagerduty": link} if link else {},
        labels={name: value for name, value in labels.items() if value},
        raw=raw,
    )


def severity(data: dict[str, Any]) -> str:
    """``SEV-n`` of an incident: its priority P1 to P5, else its urgency (high: SEV-2, low: SEV-4), else SEV-3."""
    priority = _PRIORITY.match(limits.text(as_object(data.get("priority")).get("summary")))
    if priority:
        return f"SEV-{priority[1]}"
    return {"high": "SEV-2", "low": "SEV-4"}.get(limits.text(data.get("urgency")), "SEV-3")


def error_type(title: str) -> str:
    """The title in lower case with numbers and hexadecimal ids as ``#``."""
    return limits.text(_CHANGING.sub("#", title.lower()))


def _occurred(event: dict[str, Any]) -> int:
    try:
        return in_range(milliseconds(str(event.get("occurred_at", ""))))
    except (ValueError, OverflowError):
        return 0


def _ingested(
    integration: Integration, delivery_id: str, kind: str, event: dict[str, Any], data: dict[str, Any], raw: bytes
) -> Message:
    """Acknowledgements and notes act on the incident; everything else is only kept."""
    agent = as_object(event.get("agent"))
    name = limits.text(agent.get("summary") or agent.get("id"))
    found: dict[str, Any] = {"actor": f"pagerduty:{name}" if name else "pagerduty", "event_time": _occurred(event)}
    if kind == "incident.acknowledged":
        found |= {"action": "acknowledge", "external_id": limits.identity(data.get("id"))}
    elif kind == "incident.annotated":
        text = limits.text(data.get("content"), limits.TEXT_CHARACTERS)
        ours = has_marker(text)
        found |= {
            "action": "none" if ours or not text else "note",
            "external_id": limits.identity(as_object(data.get("incident")).get("id")),
            "text": text,
        }
    if found.get("action", "none") != "none" and not found["external_id"]:
        found["action"] = "none"
    return ingested_message(integration, delivery_id, kind, raw, **found)
