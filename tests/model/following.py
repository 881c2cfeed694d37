"""Model of following (design section 7): a subscriber, cut off and resumed, between what is stored and what is live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

EVENTS = 4
Phase = Literal["away", "asked", "subscribed", "looked", "live"]


class State(NamedTuple):
    """Events ``committed`` to Kafka, ``stored`` by projections, ``released`` by the replica, ``seen`` by the client."""

    committed: int = 0
    stored: int = 0
    released: int = 0
    phase: Phase = "away"
    last: int = 0
    cursor: int = 0
    queue: tuple[int, ...] = ()
    seen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Following:
    """A guard set to false is one that is missing."""

    subscribes_before_looking: bool = True
    drops_overlap: bool = True
    holds_until_stored: bool = True
    resumes_at_cursor: bool = True

    def initial(self) -> State:
        """Nothing happened yet."""
        return State()

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        """What happens to the record, and the client's and the replica's next steps."""
        if s.committed < EVENTS:
            yield "an event is committed", s._replace(committed=s.committed + 1)
        if s.stored < s.committed:
            yield "the projection stores it", s._replace(stored=s.stored + 1)
        if s.released < (s.stored if self.holds_until_stored else s.committed):
            event = s.released + 1
            queue = (*s.queue, event) if self._is_subscribed(s) else s.queue
            yield "the replica releases it", s._replace(released=event, queue=queue)
        if s.phase != "away":
            yield "the connection is cut", s._replace(phase="away", queue=(), last=0)
        yield from self._following(s)

    def _is_subscribed(self, s: State) -> bool:
        return s.phase in {"subscribed", "looked", "live"} and (self.subscribes_before_looking or s.phase == "live")

    def _following(self, s: State) -> Iterator[tuple[str, State]]:
        match s.phase:
            case "away":
                cursor = s.seen[-1] if s.seen else 0
                skipped = cursor if self.resumes_at_cursor or not s.seen else cursor + 1
                yield "the client comes back", s._replace(phase="subscribed", cursor=skipped)
            case "subscribed":
                yield "looks how far is stored", s._replace(phase="looked", last=max(s.cursor, s.stored))
            case "looked":
                stored = tuple(range(s.cursor + 1, s.last + 1))
                yield "sends what is stored", s._replace(phase="live", seen=s.seen + stored, cursor=s.last)
            case "live" if s.queue:
                event, *rest = s.queue
                fresh = event > s.cursor or not self.drops_overlap
                seen = (*s.seen, event) if fresh else s.seen
                cursor = max(s.cursor, event)
                yield "sends what is live", s._replace(seen=seen, cursor=cursor, queue=tuple(rest))

    def wrong(self, s: State) -> str:
        """Each event once, in order; and what is seen can be read."""
        if list(s.seen) != list(range(1, len(s.seen) + 1)):
            return f"saw {list(s.seen)}"
        return "sees what reads do not show" if s.seen and s.seen[-1] > s.stored else ""

    def is_done(self, s: State) -> bool:
        """The client has seen all."""
        return len(s.seen) == EVENTS
