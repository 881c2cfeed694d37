"""The incidents of the fake: a state machine that counts effects, not calls, and keeps them in a folder."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ALREADY_RESOLVED = 1001
DUPLICATE_KEY = 2002
ALREADY_ACKNOWLEDGED = 1002
INVALID_INPUT = 2001
NOT_FOUND = 2100


class Refused(Exception):  # noqa: N818  an answer, not an accident
    """An API error: HTTP status, PagerDuty's code and message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


PRIORITIES = {"PPRIO1": "P1", "PPRIO2": "P2", "PPRIO3": "P3"}
API_USER, PERSON = "PAPIUSER", "PPERSON"


@dataclass(slots=True)
class FakeIncident:
    """One incident with its notes, each ``{"id", "content"}``, and its log; ``at`` is its last change in seconds."""

    id: str
    status: str = "triggered"
    notes: list[dict[str, str]] = field(default_factory=list)
    title: str = ""
    urgency: str = "high"
    priority: str = ""
    incident_key: str = ""
    number: int = 0
    created: float = 0.0
    at: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)


def text(seconds: float) -> str:
    """RFC 3339 in milliseconds."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FakeAccount:
    """All incidents of the account. With a folder, they are there again after a restart.

    ``auto_create`` makes an incident the first time that it is named, as one that was triggered long ago.
    """

    def __init__(
        self, folder: Path | None = None, *, auto_create: bool = True, clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._file = folder / "pagerduty.json" if folder else None
        self._auto_create = auto_create
        self.incidents: dict[str, FakeIncident] = {}
        self.effects: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        if self._file and self._file.exists():
            stored = json.loads(self._file.read_text())
            self.incidents = {one["id"]: FakeIncident(**one) for one in stored["incidents"]}
            self.effects, self.calls = Counter(stored["effects"]), Counter(stored["calls"])

    def get(self, incident_id: str) -> FakeIncident:
        """An incident; raises ``Refused`` 404 for an unknown one."""
        if incident_id not in self.incidents:
            if not self._auto_create:
                raise Refused(404, NOT_FOUND, "Not Found")
            self.incidents[incident_id] = FakeIncident(incident_id)
        return self.incidents[incident_id]

    def create(
        self, title: str, incident_key: str, by: str = API_USER, *, urgency: str = "high", priority: str = ""
    ) -> FakeIncident:
        """Make an incident; while one with its key is open, that is refused."""
        if not title:
            raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
        open_ = [one for one in self.incidents.values() if one.status != "resolved"]
        if incident_key and any(one.incident_key == incident_key for one in open_):
            message = "Open incident with matching dedup key already exists on this service"
            raise Refused(400, DUPLICATE_KEY, message)
        number = len(self.incidents) + 1
        now = self.clock()
        key = incident_key or f"key-{number}"
        incident = FakeIncident(f"PINC{number:06}", title=title, incident_key=key, urgency=urgency, priority=priority)
        incident.number, incident.created, incident.at = number, now, now
        self.incidents[incident.id] = incident
        self._log(incident, "trigger", by)
        self._happened("created")
        return incident

    def edit(self, incident_id: str, given: Mapping[str, str], by: str = API_USER) -> FakeIncident:
        """Change title, urgency, priority or status, all or nothing."""
        incident = self.get(incident_id)
        if given.get("status"):
            self.set_status(incident_id, given["status"], by)
        changed = {
            name: value for name, value in given.items() if name != "status" and getattr(incident, name) != value
        }
        for name, value in changed.items():
            setattr(incident, name, value)
        if changed:
            self._log(incident, "field_value_change", by)
            self._happened("edited")
        return incident

    def set_status(self, incident_id: str, status: str, by: str = API_USER) -> FakeIncident:
        """Acknowledge or resolve; what is already so is refused with the code that says it."""
        incident = self.get(incident_id)
        if incident.status == "resolved":
            raise Refused(400, ALREADY_RESOLVED, "Incident Already Resolved")
        if incident.status == status:
            raise Refused(400, ALREADY_ACKNOWLEDGED, "Incident Already Acknowledged")
        if status not in {"acknowledged", "resolved"}:
            raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
        incident.status = status
        self._log(incident, {"acknowledged": "acknowledge", "resolved": "resolve"}[status], by)
        self._happened(status)
        return incident

    def add_note(self, incident_id: str, content: str, by: str = API_USER) -> dict[str, str]:
        """Add a note; PagerDuty adds it again each time that it is asked."""
        if not content:
            raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
        incident = self.get(incident_id)
        note = {"id": f"PNOTE{sum(len(one.notes) for one in self.incidents.values()) + 1:06}", "content": content}
        incident.notes.append(note | {"created_at": text(self.clock()), "by": by})
        self._log(incident, "annotate", by)
        self._happened("note")
        return note

    def _log(self, incident: FakeIncident, kind: str, by: str) -> None:
        """Note what happened; times never stand still, so that each change has its own."""
        incident.at = max(self.clock(), incident.at + 0.001)
        number = sum(len(one.log) for one in self.incidents.values()) + 1
        entry = {"id": f"RLOG{number:08}", "type": f"{kind}_log_entry", "created_at": text(incident.at), "by": by}
        incident.log.append(entry)

    def summary(self) -> dict[str, Any]:
        """What ``GET /_effects`` answers: effects and calls by kind, and every incident as it is now."""
        return {
            "effects": dict(self.effects),
            "calls": dict(self.calls),
            "incidents": {one.id: {"status": one.status, "notes": one.notes} for one in self.incidents.values()},
        }

    def notes_with(self, text: str) -> int:
        """How many notes contain a text: what ``GET /_effects?note=`` answers."""
        return sum(text in note["content"] for one in self.incidents.values() for note in one.notes)

    def _happened(self, effect: str) -> None:
        self.effects[effect] += 1
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            stored = {
                "incidents": [asdict(one) for one in self.incidents.values()],
                "effects": self.effects,
                "calls": self.calls,
            }
            scratch = self._file.with_suffix(".tmp")
            scratch.write_text(json.dumps(stored))
            scratch.replace(self._file)
