"""Model of accepting (R1, R4): a sender that repeats until it has a 2xx, an API, Kafka, a decider that deduplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

MOST_COPIES = 3


class State(NamedTuple):
    """One message on its way."""

    api: Literal["down", "idle", "produced", "acknowledged"] = "down"
    has_answer: bool = False
    in_flight: bool = False
    copies: int = 0
    decided: int = 0
    dispositions: int = 0


@dataclass(frozen=True, slots=True)
class Accepting:
    """A guard set to false is one that is missing."""

    answers_after_acknowledgement: bool = True
    deduplicates: bool = True

    def initial(self) -> State:
        """Nothing sent."""
        return State()

    def steps(self, s: State) -> Iterator[tuple[str, State]]:
        """The sender's, the API's, the broker's and the decider's next steps."""
        if s.api == "down":
            yield "api starts", s._replace(api="idle")
        else:
            yield "api dies", s._replace(api="down", in_flight=False)
        if s.api == "idle" and not s.has_answer and s.copies < MOST_COPIES:
            yield "sender sends, api produces", s._replace(api="produced", in_flight=True)
        if s.in_flight:
            arrived = s._replace(in_flight=False, copies=s.copies + 1)
            yield "the record reaches Kafka", arrived._replace(api="acknowledged" if s.api == "produced" else s.api)
            yield "the record is lost on the way", s._replace(in_flight=False, api="idle")
        if s.api == "acknowledged" or (s.api == "produced" and not self.answers_after_acknowledgement):
            yield "api answers 202", s._replace(api="idle", has_answer=True)
            yield "the 202 is lost on the way", s._replace(api="idle")
        if s.decided < s.copies:
            counts = not self.deduplicates or s.dispositions == 0
            yield "a copy is decided", s._replace(decided=s.decided + 1, dispositions=s.dispositions + counts)

    def wrong(self, s: State) -> str:
        """Accepted means that it is in Kafka; it is disposed of once."""
        if s.dispositions > 1:
            return "two dispositions"
        return "accepted and lost" if s.has_answer and not s.copies and not s.in_flight else ""

    def is_done(self, s: State) -> bool:
        """The sender knows, and it was decided; or it has sent as often as this model lets it."""
        return s.dispositions == 1 and s.decided == s.copies and (s.has_answer or s.copies == MOST_COPIES)
