"""The workflow of the fake's project: which transitions lead from a status, and what their screens demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from infra.fakes.guard import Refused


@dataclass(frozen=True, slots=True)
class Status:
    """A status; ``category`` is ``new``, ``indeterminate`` or ``done``."""

    id: str
    name: str
    category: str

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {"id": self.id, "name": self.name, "statusCategory": {"key": self.category}}


@dataclass(frozen=True, slots=True)
class Transition:
    """An arrow of the workflow; its screen demands ``required`` fields."""

    id: str
    name: str
    to: Status
    required: tuple[str, ...] = ()

    def shown(self) -> dict[str, Any]:
        """As the API lists it with ``expand=transitions.fields``."""
        fields = {name: {"required": True, "key": name} for name in self.required}
        return {"id": self.id, "name": self.name, "to": self.to.shown(), "hasScreen": bool(fields), "fields": fields}


TO_DO: Final = Status("10000", "To Do", "new")
IN_PROGRESS: Final = Status("3", "In Progress", "indeterminate")
WAITING: Final = Status("10101", "Waiting for vendor", "indeterminate")
RESOLVED: Final = Status("5", "Resolved", "done")
CLOSED: Final = Status("6", "Closed", "done")
STATUSES: Final = (TO_DO, IN_PROGRESS, WAITING, RESOLVED, CLOSED)

_START = Transition("11", "Start work", IN_PROGRESS)
_RESOLVE = Transition("31", "Resolve", RESOLVED, ("resolution",))
_REOPEN = Transition("61", "Reopen", IN_PROGRESS)
_FROM: Final = {
    TO_DO.id: (_START,),
    IN_PROGRESS.id: (Transition("21", "Back to the queue", TO_DO), Transition("41", "Wait", WAITING), _RESOLVE),
    WAITING.id: (_START, _RESOLVE),
    RESOLVED.id: (Transition("51", "Close", CLOSED), _REOPEN),
    CLOSED.id: (_REOPEN,),
}
RESOLUTIONS: Final = ("Done", "Won't Do", "Duplicate")


def available(status_id: str) -> tuple[Transition, ...]:
    """The transitions that a status offers."""
    return _FROM[status_id]


def chosen(status_id: str, transition_id: str, fields: dict[str, Any]) -> Transition:
    """The transition to make; raises ``Refused`` 400 for one that is not offered or whose screen is not filled."""
    transition = next((one for one in available(status_id) if one.id == transition_id), None)
    if transition is None:
        raise Refused(400, errors(f"Transition id '{transition_id}' is not valid for this issue."))
    missing = {name: f"{name.capitalize()} is required." for name in transition.required if not fields.get(name)}
    if missing:
        raise Refused(400, errors(**missing))
    resolution = fields.get("resolution", {}).get("name", "")
    if resolution and resolution not in RESOLUTIONS:
        raise Refused(400, errors(resolution=f"Resolution name '{resolution}' is not valid"))
    return transition


def errors(*messages: str, **fields: str) -> dict[str, Any]:
    """Jira's error document."""
    return {"errorMessages": list(messages), "errors": fields}
