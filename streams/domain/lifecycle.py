"""The incident lifecycle as a table: (from, event, guard, to). Data, not code; ``docs/lifecycle.md`` is drawn from it.

Acknowledgement is an attribute of an incident, not a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from streams.domain.errors import Reason, Rejected

HOUR_MS = 3_600_000


class Status(StrEnum):
    """The canonical states; boards, metrics and ITSM mappings are built on them."""

    DRAFT = "draft"
    OPEN = "open"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CLOSED = "closed"
    CANCELED = "canceled"


FINAL = frozenset({Status.CLOSED, Status.CANCELED})
"""States that nothing but archiving follows."""

ACTIVE = frozenset({Status.DRAFT, Status.OPEN, Status.MITIGATED})
"""States in which an incident takes further alerts."""

Trigger = Literal["open", "mitigate", "resolve", "close", "cancel", "reopen", "merge"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: ``within_ms`` is the guard, the longest time since the incident was resolved (0: any)."""

    source: Status
    trigger: Trigger
    target: Status
    within_ms: int = 0


TRANSITIONS: tuple[Transition, ...] = (
    Transition(Status.DRAFT, "open", Status.OPEN),
    Transition(Status.DRAFT, "cancel", Status.CANCELED),
    Transition(Status.OPEN, "mitigate", Status.MITIGATED),
    Transition(Status.OPEN, "resolve", Status.RESOLVED),
    Transition(Status.OPEN, "cancel", Status.CANCELED),
    Transition(Status.MITIGATED, "resolve", Status.RESOLVED),
    Transition(Status.MITIGATED, "reopen", Status.OPEN),
    Transition(Status.RESOLVED, "close", Status.CLOSED),
    Transition(Status.RESOLVED, "reopen", Status.OPEN, within_ms=72 * HOUR_MS),
    Transition(Status.DRAFT, "merge", Status.CLOSED),
    Transition(Status.OPEN, "merge", Status.CLOSED),
    Transition(Status.MITIGATED, "merge", Status.CLOSED),
    Transition(Status.RESOLVED, "merge", Status.CLOSED),
)

_BY_TARGET = {(row.source, row.target): row for row in TRANSITIONS if row.trigger != "merge"}
_MERGEABLE = frozenset(row.source for row in TRANSITIONS if row.trigger == "merge")


def transition(status: str, to: str, *, now: int, resolved_at: int) -> Transition:
    """The row that leads from ``status`` to ``to``.

    Raises ``Rejected`` where there is none (naming the states that can be reached) or where its guard does not hold.
    """
    row = _BY_TARGET.get((Status(status), _known(to)))
    if row is None:
        reachable = ", ".join(target for source, target in _BY_TARGET if source == status) or "nothing"
        raise Rejected(Reason.ILLEGAL_TRANSITION, f"{status} leads to {reachable}, not to {to}")
    if row.within_ms and now - resolved_at > row.within_ms:
        raise Rejected(Reason.REOPEN_TOO_LATE, f"resolved more than {row.within_ms // HOUR_MS} hours ago")
    return row


RANK = {
    Status.DRAFT: 0,
    Status.OPEN: 1,
    Status.MITIGATED: 2,
    Status.RESOLVED: 3,
    Status.CLOSED: 4,
    Status.CANCELED: 4,
}
"""How far along the lifecycle a state is."""


def route(status: str, to: str) -> tuple[Status, ...]:
    """The states through which one leads to another: one step, or the shortest way that only goes forward.

    Raises ``Rejected`` where there is no such way.
    """
    target = _known(to)
    if (Status(status), target) in _BY_TARGET:
        return (target,)
    ways: list[tuple[Status, ...]] = [(Status(status),)]
    while ways:
        way = ways.pop(0)
        for source, found in _BY_TARGET:
            if source == way[-1] and RANK[found] > RANK[source]:
                if found == target:
                    return (*way[1:], found)
                ways.append((*way, found))
    raise Rejected(Reason.ILLEGAL_TRANSITION, f"the lifecycle does not lead from {status} to {to}")


@dataclass(frozen=True, slots=True)
class Timers:
    """How long after being resolved an incident closes, and after being closed leaves memory (ms; 0: never)."""

    close_after_ms: int
    archive_after_ms: int

    def close_due(self, now: int) -> int:
        """When an incident resolved now is to be closed, 0 for never."""
        return now + self.close_after_ms if self.close_after_ms else 0

    def archive_due(self, now: int) -> int:
        """When an incident closed now is to be archived, 0 for never."""
        return now + self.archive_after_ms if self.archive_after_ms else 0


def check_mergeable(status: str) -> None:
    """Raise ``Rejected`` when an incident in this state cannot be folded into another."""
    if status not in _MERGEABLE:
        raise Rejected(Reason.ILLEGAL_TRANSITION, f"an incident that is {status} cannot be merged into another")


def _known(to: str) -> Status:
    try:
        return Status(to)
    except ValueError:
        raise Rejected(Reason.UNKNOWN_STATE, f"{to!r} is none of {', '.join(Status)}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> draft: declared as a draft", "    [*] --> open: declared"]
    for row in TRANSITIONS:
        guard = f" (within {row.within_ms // HOUR_MS} h)" if row.within_ms else ""
        lines.append(f"    {row.source} --> {row.target}: {row.trigger}{guard}")
    return "\n".join([*lines, *(f"    {status} --> [*]" for status in sorted(FINAL))]) + "\n"
