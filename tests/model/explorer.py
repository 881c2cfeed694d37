"""Visits every reachable state of a small model and says how the first wrong one is reached."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

S = TypeVar("S", bound=Hashable)


class Model(Protocol[S]):
    """A protocol as states and steps; a step may be anything that can happen next, a crash too."""

    def initial(self) -> S:
        """Where it begins."""

    def steps(self, state: S) -> Iterator[tuple[str, S]]:
        """Everything that can happen next: its name and the state after it."""

    def wrong(self, state: S) -> str:
        """Which promise the state breaks; empty when none."""

    def is_done(self, state: S) -> bool:
        """Whether all work is done."""


@dataclass(frozen=True, slots=True)
class Explored:
    """How many states there are and, where a promise can be broken, which and by what steps."""

    states: int
    violation: str = ""
    trace: tuple[str, ...] = ()


def explore(model: Model[S], limit: int = 2_000_000) -> Explored:
    """Visit all states, nearest first; raises ``RuntimeError`` when there are more than ``limit``.

    Wrong is also a state from which the work can no longer be done, whatever happens.
    """
    start = model.initial()
    came_by: dict[S, tuple[S, str] | None] = {start: None}
    before: dict[S, list[S]] = {start: []}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if violation := model.wrong(state):
            return Explored(len(came_by), violation, _trace(came_by, state))
        for name, following in model.steps(state):
            if following not in came_by:
                if len(came_by) >= limit:
                    raise RuntimeError("the model is too large to be visited whole")
                came_by[following] = state, name
                before[following] = []
                waiting.append(following)
            before[following].append(state)
    stuck = _stuck(before, (state for state in came_by if model.is_done(state)))
    if stuck:
        nearest = min(stuck, key=lambda state: len(_trace(came_by, state)))
        return Explored(len(came_by), "the work can no longer be done", _trace(came_by, nearest))
    return Explored(len(came_by))


def _stuck(before: dict[S, list[S]], done: Iterable[S]) -> set[S]:
    """The states from which none that is done can be reached."""
    reaching = set(done)
    waiting = list(reaching)
    while waiting:
        for state in before[waiting.pop()]:
            if state not in reaching:
                reaching.add(state)
                waiting.append(state)
    return before.keys() - reaching


def _trace(came_by: dict[S, tuple[S, str] | None], state: S) -> tuple[str, ...]:
    steps = []
    while (step := came_by[state]) is not None:
        state, name = step
        steps.append(name)
    return tuple(reversed(steps))
