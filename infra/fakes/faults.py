"""Faults that a fake is told to have: how many of the next calls, and what happens to them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal["status", "drop_after", "slow"]


@dataclass(frozen=True, slots=True)
class Fault:
    """``status``: answer with it and do nothing. ``drop_after``: do the work, then close the connection unanswered.

    ``slow``: do the work, then answer after ``seconds``. ``headers`` go with a status.
    """

    kind: FaultKind
    status: int = 500
    seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()


class Faults:
    """A queue of faults, one for each of the next calls."""

    def __init__(self) -> None:
        self._queue: deque[Fault] = deque()

    def add(self, document: dict[str, Any]) -> int:
        """Queue ``{"kind", "status"?, "seconds"?, "headers"?, "times"?}``; returns how many are queued."""
        fault = Fault(
            document["kind"],
            int(document.get("status", 500)),
            float(document.get("seconds", 0.0)),
            tuple(document.get("headers", {}).items()),
        )
        self._queue.extend([fault] * int(document.get("times", 1)))
        return len(self._queue)

    def next(self) -> Fault | None:
        """The fault of the call that begins now."""
        return self._queue.popleft() if self._queue else None
