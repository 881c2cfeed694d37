"""Faults that a fake is told to have: how many of the next calls, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal["status", "drop_after", "slow"]


@dataclass(frozen=True, slots=True)
class Fault:
    """``status``: answer with it and do nothing. ``drop_after``: do the work, then close the connection unanswered.

    ``slow``: do the work, then answer after ``seconds``. ``headers`` go with a status. ``on`` names the only kind of
    call that it is for; empty: any.
    """

    kind: FaultKind
    status: int = 500
    seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    on: str = ""


class Faults:
    """A queue of faults, one for each of the next calls."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, document: dict[str, Any]) -> int:
        """Queue ``{"kind", "status"?, "seconds"?, "headers"?, "on"?, "times"?}``; returns how many are queued."""
        fault = Fault(
            document["kind"],
            int(document.get("status", 500)),
            float(document.get("seconds", 0.0)),
            tuple(document.get("headers", {}).items()),
            str(document.get("on", "")),
        )
        self._queue.extend([fault] * int(document.get("times", 1)))
        return len(self._queue)

    def next(self, call: str = "") -> Fault | None:
        """The fault of the call that begins now: the first one for this kind of call or for any."""
        for place, fault in enumerate(self._queue):
            if fault.on in {"", call}:
                return self._queue.pop(place)
        return None
