"""The incidents of the fake: a state machine that counts effects, not calls, and keeps them in a folder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ALREADY_RESOLVED = 1001
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


@dataclass(slots=True)
class FakeIncident:
    """One incident with its notes, each ``{"id", "content"}``."""

    id: str
    status: str = "triggered"
    notes: list[dict[str, str]] = field(default_factory=list)


class FakeAccount:
    """All incidents of the account. With a folder, they are there again after a restart.

    ``auto_create`` makes an incident the first time that it is named, as one that was triggered long ago.
    """

    def __init__(self, folder: Path | None = None, *, auto_create: bool = True) -> None:
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

    def set_status(self, incident_id: str, status: str) -> FakeIncident:
        """Acknowledge or resolve; what is already so is refused with the code that says it."""
        incident = self.get(incident_id)
        if incident.status == "resolved":
            raise Refused(400, ALREADY_RESOLVED, "Incident Already Resolved")
        if incident.status == status:
            raise Refused(400, ALREADY_ACKNOWLEDGED, "Incident Already Acknowledged")
        if status not in {"acknowledged", "resolved"}:
            raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
        incident.status = status
        self._happened(status)
        return incident

    def add_note(self, incident_id: str, content: str) -> dict[str, str]:
        """Add a note; PagerDuty adds it again each time that it is asked."""
        if not content:
            raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
        incident = self.get(incident_id)
        note = {"id": f"PNOTE{sum(len(one.notes) for one in self.incidents.values()) + 1:06}", "content": content}
        incident.notes.append(note)
        self._happened("note")
        return note

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
