"""Model of projecting (R6): projectors that take the partition from one another, and PostgreSQL's transactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

LOG = (1, -2, 2, 3)
"""What the partition holds: events by their sequence; the negative one belongs to a transaction that was aborted."""

LARGEST_BATCH = 2
PROJECTORS = 2
Phase = Literal["down", "ready", "read", "half written", "unsure", "committed"]


class Projector(NamedTuple):
    """One projector: ``owns`` is what the database knows (its epoch is the newest)."""

    phase: Phase = "down"
    owns: bool = False
    position: int = 0
    until: int = 0


class State(NamedTuple):
    """``rows`` in the order in which they were written: a repeated row would count twice in a real table's counters."""

    projectors: tuple[Projector, ...]
    rows: tuple[int, ...] = ()
    checkpoint: int = 0


@dataclass(frozen=True, slots=True)
class Projecting:
    """A guard set to false is one that is missing."""

    checks_epoch: bool = True
    checks_position: bool = True
    one_transaction: bool = True
    looks_after_lost_commit: bool = True
    reads_committed: bool = True

    def initial(self) -> State:
        """No rows, nobody there."""
        return State((Projector(),) * PROJECTORS)

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Each projector's next step, and its death at any moment."""
        for number, projector in enumerate(state.projectors):
            for name, following in self._steps(state, number, projector):
                yield f"projector {number}: {name}", following

    def _steps(self, s: State, n: int, p: Projector) -> Iterator[tuple[str, State]]:
        if p.phase != "down":
            yield "dies", _with(s, n, Projector())
        match p.phase:
            case "down":
                yield "claims", _with(_claimed(s, n), n, Projector("ready", owns=True, position=s.checkpoint))
            case "ready":
                for until in range(p.position + 1, min(p.position + LARGEST_BATCH, len(LOG)) + 1):
                    yield f"reads to {until}", _with(s, n, p._replace(phase="read", until=until))
            case "read" if not self._may_write(s, p):
                yield "is fenced, ends", _with(s, n, Projector())
            case "read" if self.one_transaction:
                written = self._written(s, p)._replace(checkpoint=p.until)
                yield "commits", _with(written, n, p._replace(phase="committed"))
                yield "commits, the answer is lost", _with(written, n, p._replace(phase="unsure"))
                yield "the connection is lost before the commit", _with(s, n, p._replace(phase="unsure"))
            case "read":
                moved = s._replace(checkpoint=p.until)
                yield "commits the checkpoint alone", _with(moved, n, p._replace(phase="half written"))
            case "half written":
                yield "commits the rows", _with(self._written(s, p), n, p._replace(phase="committed"))
            case "unsure" if self.looks_after_lost_commit and p.owns and s.checkpoint == p.until:
                yield "finds its commit", _with(s, n, p._replace(phase="committed"))
            case "unsure":
                yield "tries again", _with(s, n, p._replace(phase="read"))
            case "committed":
                yield "moves its position", _with(s, n, p._replace(phase="ready", position=p.until))

    def _may_write(self, s: State, p: Projector) -> bool:
        """The condition of the statement that moves the checkpoint."""
        return (p.owns or not self.checks_epoch) and (s.checkpoint == p.position or not self.checks_position)

    def _written(self, s: State, p: Projector) -> State:
        found = LOG[p.position : p.until]
        return s._replace(rows=s.rows + tuple(abs(e) for e in found if e > 0 or not self.reads_committed))

    def wrong(self, state: State) -> str:
        """The rows show the record: no gap, no repeat."""
        whole = list(range(1, len(state.rows) + 1))
        return "" if list(state.rows) == whole else f"rows {list(state.rows)}"

    def is_done(self, state: State) -> bool:
        """Every event has its row."""
        return len(state.rows) == sum(event > 0 for event in LOG) and state.checkpoint == len(LOG)


def _claimed(s: State, n: int) -> State:
    others = tuple(p if i == n else p._replace(owns=False) for i, p in enumerate(s.projectors))
    return s._replace(projectors=others)


def _with(state: State, number: int, projector: Projector) -> State:
    return state._replace(projectors=(*state.projectors[:number], projector, *state.projectors[number + 1 :]))
