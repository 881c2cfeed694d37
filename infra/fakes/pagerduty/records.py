"""Incidents, log entries and notes as the REST API shows them, and what an edit asks for.

Shapes after https://developer.pagerduty.com/api-reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from infra.fakes.pagerduty.state import INVALID_INPUT, PRIORITIES, FakeIncident, Refused, text

_SITE = "https://acme.pagerduty.com"


def shown(incident: FakeIncident) -> dict[str, Any]:
    """An incident."""
    priority = next(
        ({"id": id_, "summary": name} for id_, name in PRIORITIES.items() if name == incident.priority), None
    )
    return {
        "id": incident.id,
        "type": "incident",
        "incident_number": incident.number,
        "title": incident.title,
        "status": incident.status,
        "urgency": incident.urgency,
        "priority": priority,
        "incident_key": incident.incident_key,
        "html_url": f"{_SITE}/incidents/{incident.id}",
        "created_at": text(incident.created),
        "updated_at": text(incident.at),
    }


def edit_of(given: object) -> dict[str, str]:
    """The changes that a body asks for; raises ``Refused`` for what the API does not take."""
    if not isinstance(given, dict):
        raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
    found = {name: str(given[name]) for name in ("title", "urgency", "status") if given.get(name)}
    if found.get("urgency", "high") not in {"high", "low"}:
        raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
    if "priority" in given:
        found["priority"] = PRIORITIES[given["priority"]["id"]] if given["priority"] else ""
    return found


def notes(incident: FakeIncident) -> list[dict[str, Any]]:
    """The notes of an incident."""
    return [
        {
            "id": one["id"],
            "content": one["content"],
            "created_at": one.get("created_at"),
            "user": _user(one.get("by", "")),
        }
        for one in incident.notes
    ]


def log_page(incidents: Iterable[FakeIncident], query: Mapping[str, str]) -> dict[str, Any]:
    """Log entries since an instant, the newest first, each with its incident where that is asked for."""
    since = datetime.fromisoformat(query.get("since", "1970-01-01T00:00:00+00:00"))
    whole = "include[]" in query
    entries = [
        {
            "id": entry["id"],
            "type": entry["type"],
            "created_at": entry["created_at"],
            "agent": _user(entry["by"]),
            "incident": shown(incident) if whole else {"id": incident.id, "type": "incident_reference"},
        }
        for incident in incidents
        for entry in incident.log
        if datetime.fromisoformat(entry["created_at"]) >= since
    ]
    entries.sort(key=lambda entry: str(entry["id"]), reverse=True)
    offset, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
    return {"log_entries": entries[offset : offset + limit], "more": offset + limit < len(entries)}


def _user(id_: str) -> dict[str, str]:
    return {"id": id_, "type": "user_reference", "summary": id_.lower()}
