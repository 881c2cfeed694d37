"""The fake's incidents: what an edit does, what is an update, and who did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from infra.fakes.guard import Refused
from infra.fakes.store import Store

SEVERITIES: Final = [
    {"id": f"01SEV{rank}", "name": name, "description": name, "rank": rank}
    for rank, name in enumerate(("Minor", "Major", "Critical"), 1)
]
STATUSES: Final = [
    {"id": f"01STATUS{place}", "name": name, "category": category, "rank": rank, "description": name}
    for place, (name, category, rank) in enumerate(
        (
            ("Triage", "triage", 0),
            ("Investigating", "live", 1),
            ("Fixing", "live", 2),
            ("Monitoring", "live", 3),
            ("Documenting", "learning", 4),
            ("Closed", "closed", 5),
            ("Declined", "declined", 6),
            ("Canceled", "canceled", 7),
            ("Merged", "merged", 8),
        )
    )
]
MARKER_FIELD: Final = "01MARKER"
API_KEY: Final = {"api_key": {"id": "01APIKEY", "name": "incidents"}}
_KIND, _UPDATE = "incident", "update"

Told = Callable[[str, dict[str, Any], Mapping[str, Any] | None], None]
"""Event (``created``, ``updated``, ``status_updated``), the incident after it, and its previous status."""


def error(status: int, message: str, field: str = "") -> dict[str, Any]:
    """An error document."""
    one = {"code": "invalid", "message": message, **({"source": {"field": field}} if field else {})}
    return {
        "type": "validation_error" if status == HTTPStatus.UNPROCESSABLE_ENTITY else "error",
        "status": status,
        "errors": [one],
    }


def user(name: str) -> dict[str, Any]:
    """A person as an updater."""
    return {"user": {"id": f"01USER{name}", "name": name, "email": f"{name}@example.com"}}


class Incidents:
    """All incidents of the account; ``clock`` gives seconds, ``told`` hears of every change."""

    def __init__(self, store: Store, clock: Callable[[], float], told: Told) -> None:
        self._store, self._clock, self._told = store, clock, told

    def create(self, given: Mapping[str, Any], by: Mapping[str, Any]) -> dict[str, Any]:
        """Make an incident, or find the one that was made with the same idempotency key."""
        key = str(given.get("idempotency_key") or "")
        if not key or given.get("visibility") not in {"public", "private"}:
            raise Refused(422, error(422, "is required", "visibility" if key else "idempotency_key"))
        known = next((one for one in self._store.all(_KIND) if one["idempotency_key"] == key), None)
        if known is not None:
            return dict(known["incident"])
        number = self._store.count("number")
        now = _text(self._clock())
        incident = {
            "id": f"01INCIDENT{number:04}",
            "reference": f"INC-{number}",
            "name": "",
            "summary": "",
            "visibility": given["visibility"],
            "mode": given.get("mode", "standard"),
            "severity": None,
            "incident_status": STATUSES[1],
            "custom_field_entries": [],
            "permalink": f"https://app.incident.io/acme/incidents/{number}",
            "created_at": now,
            "updated_at": now,
        }
        _change(incident, given)
        self._store.put(_KIND, incident["id"], {"incident": incident, "idempotency_key": key})
        self._record(incident, by, "")
        self._told("created", incident, None)
        return incident

    def get(self, reference: str) -> dict[str, Any]:
        """By id or number; raises ``Refused`` 404."""
        found = self._store.get(_KIND, f"01INCIDENT{reference:0>4}" if reference.isdigit() else reference)
        if found is None:
            raise Refused(404, error(404, "Incident not found"))
        return dict(found["incident"])

    def edit(self, id_: str, given: Mapping[str, Any], by: Mapping[str, Any], message: str = "") -> dict[str, Any]:
        """Change what is given; an edit that changes nothing leaves the time of change."""
        before, incident = self.get(id_), self.get(id_)
        _change(incident, given)
        if incident == before and not message:
            return incident
        later = max(self._clock(), datetime.fromisoformat(before["updated_at"]).timestamp() + 0.001)
        incident["updated_at"] = _text(later)
        stored = self._store.get(_KIND, incident["id"])
        assert stored is not None, "get found it"
        self._store.put(_KIND, incident["id"], {**stored, "incident": incident})
        moved = incident["incident_status"] != before["incident_status"]
        if moved or incident["severity"] != before["severity"] or message:
            self._record(incident, by, message)
        if moved or message:
            self._told("status_updated", {**incident, "message": message}, before["incident_status"])
        self._told("updated", incident, None)
        return incident

    def all(self) -> list[dict[str, Any]]:
        """Every incident, the newest first."""
        return [one["incident"] for one in reversed(self._store.all(_KIND))]

    def updates(self, incident_id: str) -> list[dict[str, Any]]:
        """The updates of an incident, the newest first."""
        return [one for one in reversed(self._store.all(_UPDATE)) if one["incident_id"] == incident_id]

    def _record(self, incident: Mapping[str, Any], by: Mapping[str, Any], message: str) -> None:
        id_ = f"01UPDATE{self._store.count('update'):04}"
        update = {
            "id": id_,
            "incident_id": incident["id"],
            "created_at": incident["updated_at"],
            "new_incident_status": incident["incident_status"],
            "new_severity": incident["severity"],
            "message": message,
            "updater": dict(by),
        }
        self._store.put(_UPDATE, id_, update)


def _change(incident: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name in ("name", "summary"):
        if name in given:
            incident[name] = str(given[name])
    if "severity_id" in given:
        incident["severity"] = _by_id(SEVERITIES, given["severity_id"], "severity_id")
    if "incident_status_id" in given:
        status = _by_id(STATUSES, given["incident_status_id"], "incident_status_id")
        if status["category"] == "merged":
            raise Refused(422, error(422, "an incident is merged in the product alone", "incident_status_id"))
        incident["incident_status"] = status
    for entry in given.get("custom_field_entries", ()):
        if entry.get("custom_field_id") != MARKER_FIELD:
            raise Refused(422, error(422, "no such custom field", "custom_field_entries"))
        field = {"id": MARKER_FIELD, "name": "Incidents", "field_type": "text"}
        values = [{"value_text": str(one["value_text"])} for one in entry["values"]]
        others = [one for one in incident["custom_field_entries"] if one["custom_field"]["id"] != MARKER_FIELD]
        incident["custom_field_entries"] = [*others, {"custom_field": field, "values": values}]


def _by_id(listed: list[dict[str, Any]], id_: Any, field: str) -> dict[str, Any]:
    found = next((one for one in listed if one["id"] == id_), None)
    if found is None:
        raise Refused(422, error(422, "not found", field))
    return found


def _text(seconds: float) -> str:
    """RFC 3339 in milliseconds, as the API writes times."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
