"""Incidents of the API and of webhooks to tickets; the version is the time of the last change in milliseconds."""

from __future__ import annotations

from typing import Any

from connectors.incidentio.config import IncidentIoConfig
from connectors.kit import limits
from connectors.kit.intake import as_object, in_range
from connectors.kit.markers import is_ticket_marker
from connectors.kit.tickets import Ticket
from streams.domain.envelope import milliseconds

REAL = frozenset({"", "standard", "retrospective"})
"""Modes of incidents that happened; the others are tests and tutorials."""


def ticket_of(config: IncidentIoConfig, incident: dict[str, Any], updated_by: str = "") -> Ticket | None:
    """The ticket that an incident is; ``None`` for something without an id."""
    external_id = limits.identity(incident.get("id"))
    if not external_id:
        return None
    at = instant(incident.get("updated_at"))
    return Ticket(
        external_id=external_id,
        external_key=limits.text(incident.get("reference")),
        url=limits.text(incident.get("permalink"), limits.LABEL_CHARACTERS),
        marker=marker_of(config, incident),
        version=at,
        updated_at=at,
        updated_by=updated_by,
        fields=_fields(incident),
    )


def _fields(incident: dict[str, Any]) -> dict[str, str]:
    """What is shown: a severity that is not set is empty, a part that is absent says nothing."""
    found: dict[str, str] = {
        name: limits.text(incident[name], limits.TEXT_CHARACTERS) for name in ("name", "summary") if name in incident
    }
    if "severity" in incident:
        found["severity"] = limits.text(as_object(incident["severity"]).get("name"))
    if "incident_status" in incident:
        status = as_object(incident["incident_status"])
        found["status"], found["status_category"] = limits.text(status.get("name")), limits.text(status.get("category"))
    return found


def marker_of(config: IncidentIoConfig, incident: dict[str, Any]) -> str:
    """Our marker in the custom field; empty where something else, or nothing, is in it."""
    entries = incident.get("custom_field_entries")
    for entry in map(as_object, entries if isinstance(entries, list) else ()):
        if as_object(entry.get("custom_field")).get("id") != config.marker_field_id:
            continue
        values = entry.get("values")
        for value in map(as_object, values if isinstance(values, list) else ()):
            text = limits.identity(value.get("value_text"))
            if is_ticket_marker(text):
                return text
    return ""


def marked(config: IncidentIoConfig, marker: str) -> dict[str, Any]:
    """The part of an edit that puts a marker into the custom field, or empties it."""
    values = [{"value_text": marker}] if marker else []
    return {"custom_field_entries": [{"custom_field_id": config.marker_field_id, "values": values}]}


def instant(value: Any) -> int:
    """A time in milliseconds; 0 where there is none."""
    try:
        return in_range(milliseconds(str(value or "")))
    except (ValueError, OverflowError):
        return 0
