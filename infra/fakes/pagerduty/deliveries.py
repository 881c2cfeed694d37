"""V3 webhooks as PagerDuty sends them: whole bodies and signed headers, for the demo, the bench and the tests.

Shapes after https://developer.pagerduty.com/docs/webhooks/v3-overview.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_API = "https://api.pagerduty.com"
_SITE = "https://acme.pagerduty.com"


@dataclass(frozen=True, slots=True)
class PagerDutyIncident:
    """What varies between incidents; times are RFC 3339."""

    id: str
    title: str
    service: str
    created_at: str
    number: int = 1
    priority: str = ""
    urgency: str = "high"
    incident_key: str = ""


def signatures(body: bytes, secrets: Sequence[str]) -> str:
    """The value of ``X-PagerDuty-Signature``: one ``v1=`` for each secret, as while one is being rotated."""
    return ",".join("v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets)


def webhook(
    event_type: str,
    incident: PagerDutyIncident,
    *,
    event_id: str,
    occurred_at: str,
    secrets: Sequence[str],
    agent: str = "",
    note: str = "",
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of one delivery; ``note`` is the text of an ``incident.annotated``."""
    event = {
        "id": event_id,
        "event_type": event_type,
        "resource_type": "incident",
        "occurred_at": occurred_at,
        "agent": _reference(agent, "user_reference", "users", agent) if agent else None,
        "client": None,
        "data": _note(incident, note) if event_type == "incident.annotated" else _incident(event_type, incident),
    }
    return _delivery(event, secrets)


def ping(event_id: str, occurred_at: str, secrets: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    """The test event that PagerDuty sends when somebody presses the button."""
    event = {
        "id": event_id,
        "event_type": "pagey.ping",
        "resource_type": "pagey",
        "occurred_at": occurred_at,
        "agent": None,
        "client": None,
        "data": {"message": "Hello from your friend Pagey!", "type": "ping"},
    }
    return _delivery(event, secrets)


def _delivery(event: Mapping[str, Any], secrets: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"event": event}, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "PagerDuty-Webhook/V3.0",
        "X-PagerDuty-Signature": signatures(body, secrets),
        "X-Webhook-Id": hashlib.sha256(event["id"].encode()).hexdigest()[:32],
    }
    return body, headers


def _reference(id_: str, type_: str, path: str, summary: str) -> dict[str, str]:
    return {
        "html_url": f"{_SITE}/{path}/{id_}",
        "id": id_,
        "self": f"{_API}/{path}/{id_}",
        "summary": summary,
        "type": type_,
    }


def _id(kind: str, name: str) -> str:
    return "P" + hashlib.sha256(f"{kind}{name}".encode()).hexdigest()[:6].upper()


def _incident(event_type: str, incident: PagerDutyIncident) -> dict[str, Any]:
    status = {"incident.acknowledged": "acknowledged", "incident.resolved": "resolved"}.get(event_type, "triggered")
    service = incident.service
    return {
        "id": incident.id,
        "type": "incident",
        "self": f"{_API}/incidents/{incident.id}",
        "html_url": f"{_SITE}/incidents/{incident.id}",
        "number": incident.number,
        "status": status,
        "incident_key": incident.incident_key or _id("key", incident.id),
        "created_at": incident.created_at,
        "title": incident.title,
        "service": _reference(_id("service", service), "service_reference", "services", service),
        "assignees": [_reference(_id("user", service), "user_reference", "users", f"{service} on call")],
        "escalation_policy": _reference(
            _id("policy", service), "escalation_policy_reference", "escalation_policies", f"{service} policy"
        ),
        "teams": [_reference(_id("team", service), "team_reference", "teams", f"Team {service}")],
        "priority": _reference(
            _id("priority", incident.priority), "priority_reference", "priorities", incident.priority
        )
        if incident.priority
        else None,
        "urgency": incident.urgency,
        "conference_bridge": None,
        "resolve_reason": None,
        "incident_type": {"name": "incident_default"},
    }


def _note(incident: PagerDutyIncident, content: str) -> dict[str, Any]:
    return {
        "incident": _reference(incident.id, "incident_reference", "incidents", incident.title),
        "id": _id("note", content),
        "type": "incident_note",
        "content": content,
        "trimmed": False,
    }
