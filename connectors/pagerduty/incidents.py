"""Incidents of the REST API as linked records: fields, marker and version of each."""

from __future__ import annotations

from typing import Any, Final

from connectors.kit import limits
from connectors.kit.intake import as_object, in_range
from connectors.kit.markers import is_ticket_marker
from connectors.kit.tickets import Ticket
from streams.domain.envelope import milliseconds

FIELDS: Final = ("title", "status", "urgency", "priority")
"""What is followed; ``priority`` is its name (P1), empty where none is set."""

_TIMES = ("updated_at", "last_status_change_at", "created_at")


def ticket_of(incident: dict[str, Any]) -> Ticket | None:
    """The ticket that an incident is; ``None`` for something without an id. Its key there is our marker."""
    external_id = limits.identity(incident.get("id"))
    if not external_id:
        return None
    key = limits.identity(incident.get("incident_key"))
    number = limits.text(incident.get("incident_number"))
    at = max(instant(incident.get(name)) for name in _TIMES)
    return Ticket(
        external_id=external_id,
        external_key=f"#{number}" if number else external_id,
        url=limits.text(incident.get("html_url"), limits.LABEL_CHARACTERS),
        marker=key if is_ticket_marker(key) else "",
        version=at,
        updated_at=at,
        updated_by=limits.text(as_object(incident.get("last_status_change_by")).get("summary")),
        fields=_fields(incident),
    )


def _fields(incident: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {
        name: limits.text(incident[name], limits.TEXT_CHARACTERS)
        for name in ("title", "status", "urgency")
        if name in incident
    }
    if "priority" in incident:
        found["priority"] = limits.text(as_object(incident["priority"]).get("summary"))
    return found


def instant(value: Any) -> int:
    """A time in milliseconds; 0 where there is none."""
    try:
        return in_range(milliseconds(str(value or "")))
    except (ValueError, OverflowError):
        return 0
