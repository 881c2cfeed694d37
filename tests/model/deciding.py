"""Model of deciding (R3): workers that take the partition from one another, and Kafka's transactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

RECORDS = 3
LARGEST_BATCH = 2
WORKERS = 2

Phase = Literal["down", "fenced", "restored", "ready", "begun", "produced", "outputs committed", "committed"]


class Worker(NamedTuple):
    """One worker: ``owns`` is what Kafka knows (its epoch is the newest), the worker itself does not know it."""

    phase: Phase = "down"
    owns: bool = False
    position: int = 0
    sequence: int = 0
    batch: int = 0
    has_open: bool = False


class State(NamedTuple):
    """``log``: (sequence, record) of each committed event; ``position`` and ``sequence`` as in the state topic."""

    workers: tuple[Worker, ...]
    log: tuple[tuple[int, int], ...] = ()
    position: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Deciding:
    """A guard set to false is one that is missing."""

    fences: bool = True
    fences_before_restoring: bool = True
    position_with_outputs: bool = True
    state_with_outputs: bool = True

    def initial(self) -> State:
        """Nothing decided, nobody there."""
        return State((Worker(),) * WORKERS)

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Each worker's next step, its death at any moment, and the broker's patience."""
        for number, worker in enumerate(state.workers):
            for name, following in self._steps(state, number, worker):
                yield f"worker {number}: {name}", following

    def _steps(self, s: State, n: int, w: Worker) -> Iterator[tuple[str, State]]:
        if w.phase != "down":  # what it has written into its open transaction stays there
            yield "dies", _with(s, n, w._replace(phase="down"))
        if w.has_open:  # the coordinator's time limit: it aborts and raises the epoch
            yield "its transaction is aborted by the broker", _with(s, n, w._replace(has_open=False, owns=False))
        match w.phase:
            case "down" if self.fences_before_restoring:
                yield "fences", _with(self._fenced(s, n), n, Worker("fenced", owns=True))
            case "down":
                yield "restores", _with(s, n, Worker("restored", False, s.position, s.sequence))
            case "restored":
                yield "fences", _with(self._fenced(s, n), n, w._replace(phase="ready", owns=True))
            case "fenced":
                yield "restores and seeks", _with(s, n, Worker("ready", w.owns, s.position, s.sequence))
            case "ready":
                for batch in range(1, min(LARGEST_BATCH, RECORDS - w.position) + 1):
                    yield f"decides {batch}, begins", _with(s, n, w._replace(phase="begun", batch=batch))
            case "begun" if self._may_write(w):
                yield "produces", _with(s, n, w._replace(phase="produced", has_open=True))
            case "produced" if self._may_write(w) and w.has_open:
                yield self._commit(s, n, w)
            case "begun" | "produced":
                yield "is fenced, ends", _with(s, n, Worker())
            case "outputs committed":
                yield "commits the rest", self._rest(s, n, w)
            case "committed":
                moved = Worker("ready", w.owns, w.position + w.batch, w.sequence + w.batch)
                yield "moves its position", _with(s, n, moved)

    def _may_write(self, w: Worker) -> bool:
        return w.owns or not self.fences

    def _fenced(self, s: State, n: int) -> State:
        """Another owner: the former one's open transaction is aborted."""
        if not self.fences:
            return s
        others = tuple(w if i == n else w._replace(owns=False, has_open=False) for i, w in enumerate(s.workers))
        return s._replace(workers=others)

    def _commit(self, s: State, n: int, w: Worker) -> tuple[str, State]:
        events = tuple((w.sequence + i + 1, w.position + i) for i in range(w.batch))
        s = s._replace(log=s.log + events)
        if self.position_with_outputs:
            s = s._replace(position=w.position + w.batch)
        if self.state_with_outputs:
            s = s._replace(sequence=w.sequence + w.batch)
        whole = self.position_with_outputs and self.state_with_outputs
        after: Phase = "committed" if whole else "outputs committed"
        return "commits", _with(s, n, w._replace(phase=after, has_open=False))

    def _rest(self, s: State, n: int, w: Worker) -> State:
        s = s._replace(position=w.position + w.batch, sequence=w.sequence + w.batch)
        return _with(s, n, w._replace(phase="committed"))

    def wrong(self, state: State) -> str:
        """The record: sequences 1..n, each intake record once, in order."""
        if [sequence for sequence, _ in state.log] != list(range(1, len(state.log) + 1)):
            return f"sequences {[sequence for sequence, _ in state.log]}"
        if [record for _, record in state.log] != list(range(len(state.log))):
            return f"records {[record for _, record in state.log]}"
        return ""

    def is_done(self, state: State) -> bool:
        """Every record is decided."""
        return len(state.log) == RECORDS


def _with(state: State, number: int, worker: Worker) -> State:
    return state._replace(workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))
