"""Model of dispatching (R7): dispatchers that lease one intent, a provider, the result on the intake.

Assumed of the provider: a request is carried out before the lease of its sender can run out, or never.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

DISPATCHERS = 2
MOST_ATTEMPTS = 4
NOBODY = -1
Phase = Literal["idle", "leased", "looked", "sending", "answered", "unanswered", "reported"]


class Dispatcher(NamedTuple):
    """One dispatcher; ``attempt`` is what the lease told it."""

    phase: Phase = "idle"
    attempt: int = 0
    is_frozen: bool = False


class State(NamedTuple):
    """The row (``done``, ``holder``, ``attempts``), the provider's ``effects``, whether the intake has the result."""

    dispatchers: tuple[Dispatcher, ...]
    done: bool = False
    holder: int = NOBODY
    attempts: int = 0
    effects: int = 0
    reported: bool = False
    freezes: int = 0


@dataclass(frozen=True, slots=True)
class Dispatching:
    """A guard set to false is one that is missing; the first three are the circumstances."""

    keyed: bool = False
    freezes: int = 0
    freezes_while_sending: bool = True
    checks_lease: bool = True
    counts_attempt_first: bool = True
    looks_first: bool = True
    checks_lease_before_sending: bool = True
    reports_before_marking: bool = True

    def initial(self) -> State:
        """One intent, planned."""
        return State((Dispatcher(),) * DISPATCHERS)

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        """Each dispatcher's next step, its death or freezing at any moment, and the end of a lease nobody renews."""
        for number, dispatcher in enumerate(state.dispatchers):
            for name, following in self._steps(state, number, dispatcher):
                yield f"dispatcher {number}: {name}", following
        if state.holder != NOBODY:
            holder = state.dispatchers[state.holder]
            if holder.phase == "idle" or holder.is_frozen:
                yield "the lease runs out", state._replace(holder=NOBODY)

    def _steps(self, s: State, n: int, d: Dispatcher) -> Iterator[tuple[str, State]]:
        yield from self._accidents(s, n, d)
        if d.is_frozen:
            return
        match d.phase:
            case "idle" if not s.done and s.attempts < MOST_ATTEMPTS and (s.holder == NOBODY or not self.checks_lease):
                attempts = s.attempts + (1 if self.counts_attempt_first else 0)
                leased = Dispatcher("leased", attempts)
                yield "leases", _with(s, n, leased)._replace(holder=n, attempts=attempts)
            case "leased" if d.attempt > 1 and self.looks_first and not self.keyed and s.effects:
                yield "finds it done", _with(s, n, d._replace(phase="answered"))
            case "leased":
                yield "has nothing to find", _with(s, n, d._replace(phase="looked"))
            case "looked" if s.holder != n and self.checks_lease and self.checks_lease_before_sending:
                yield "finds its lease gone", _with(s, n, Dispatcher())
            case "looked":
                yield "finds its lease good", _with(s, n, d._replace(phase="sending"))
            case "sending":
                effect = s._replace(effects=1 if self.keyed else s.effects + 1)
                yield "sends", _with(effect, n, d._replace(phase="answered"))
                yield "sends, the answer is lost", _with(effect, n, d._replace(phase="unanswered"))
                yield "sends, it does not arrive", _with(s, n, d._replace(phase="unanswered"))
            case "unanswered":
                back = s._replace(holder=NOBODY if s.holder == n else s.holder)
                yield "gives the lease back", _with(back, n, Dispatcher())
            case "answered" if self.reports_before_marking:
                yield "reports", _with(s._replace(reported=True), n, d._replace(phase="reported"))
            case "answered":
                yield "marks the row", _with(self._marked(s, n), n, d._replace(phase="reported"))
            case "reported" if self.reports_before_marking:
                yield "marks the row", _with(self._marked(s, n), n, Dispatcher())
            case "reported":
                yield "reports", _with(s._replace(reported=True), n, Dispatcher())

    def _accidents(self, s: State, n: int, d: Dispatcher) -> Iterator[tuple[str, State]]:
        if d.phase == "idle":
            return
        yield "dies", _with(s, n, Dispatcher())
        if d.is_frozen:
            yield "wakes up", _with(s, n, d._replace(is_frozen=False))
        elif s.freezes < self.freezes and (d.phase != "sending" or self.freezes_while_sending):
            yield "freezes", _with(s, n, d._replace(is_frozen=True))._replace(freezes=s.freezes + 1)

    def _marked(self, s: State, n: int) -> State:
        """Only whoever holds the lease closes the row; the result, reported again, has the same id."""
        return s._replace(done=True, holder=NOBODY) if s.holder == n or not self.checks_lease else s

    def wrong(self, state: State) -> str:
        """Carried out once; nothing is closed that was not carried out and reported."""
        if state.effects > 1:
            return "carried out twice"
        if state.done and not state.effects:
            return "closed and never carried out"
        lost = state.done and not state.reported and all(d.phase == "idle" for d in state.dispatchers)
        return "closed and never reported" if lost else ""

    def is_done(self, state: State) -> bool:
        """Closed; or tried as often as this model lets it."""
        return state.done or state.attempts == MOST_ATTEMPTS


def _with(state: State, number: int, dispatcher: Dispatcher) -> State:
    return state._replace(dispatchers=(*state.dispatchers[:number], dispatcher, *state.dispatchers[number + 1 :]))
