"""Decides recorded intake again, cut where the record says that it was cut (R2).

The same intake, the same cuts and the same decider give the same bytes: so the record can be proved, a state can be
made anew from an older one, and a batch of which only a part was saved can be completed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from streams.agents import state_codec
from streams.agents.orchestrator import EVENTS, Orchestrator
from streams.codec import cloudevents
from streams.domain.batch import DECIDER
from streams.domain.catalogue import BY_TYPE
from streams.domain.errors import IncidentsError, InvalidEvent
from streams.domain.events import IntakeRefused
from streams.domain.state import digests_of
from streams.runtime.partition import BATCH_FAILED, DECISION_FAILED, POSITION
from streams.runtime.ports import Record, Write, Writes
from streams.runtime.settings import KafkaSettings

_BATCH = 2_000
_REFUSED = "com.incidents.intake.refused.v1"


class OtherDecider(IncidentsError):  # noqa: N818
    """A span was decided by another version: what this one would decide says nothing about it."""

    def __init__(self, span: Span) -> None:
        super().__init__(f"intake {span} was decided by version {span.decider}, this is {DECIDER}")
        self.span = span


class IntakeGap(IncidentsError):  # noqa: N818
    """The intake does not hold all records of a recorded span."""


@dataclass(frozen=True, slots=True)
class Span:
    """A batch of the intake, both offsets included, and the version that decided it."""

    partition: int
    first: int
    last: int
    decider: str = DECIDER

    def __str__(self) -> str:
        return f"{self.partition}:{self.first}:{self.last}"


@dataclass(slots=True)
class Cuts:
    """The recorded spans of one partition in their order, and what was given up for reasons outside the decision.

    ``erased`` has the digests of events whose data was erased; ``refused`` why a record was not taken, by its offset:
    of one whose content was erased, that cannot be found out again.
    """

    spans: list[Span] = field(default_factory=list)
    given_up: dict[int, tuple[str, str]] = field(default_factory=dict)
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    erased: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record) -> Span:
        """Note the span of a record of ``incident-events`` and return it."""
        envelope, _, _ = cloudevents.decode_headers(record.headers)
        partition, first, last = map(int, envelope.intakespan.split(":"))
        span = Span(partition, first, last, envelope.decider)
        if not self.spans or self.spans[-1] != span:
            if self.spans and self.spans[-1].last >= first:  # a batch that stopped at a schema it did not know
                former = self.spans[-1]
                self.spans[-1] = Span(partition, former.first, first - 1, former.decider)
            self.spans.append(span)
        if not envelope.datasalt:
            self.erased[envelope.id] = envelope.datadigest
        if envelope.type == _REFUSED:
            _, refusal = cloudevents.decode(record.headers, record.value)
            if isinstance(refusal, IntakeRefused):
                self.refused[refusal.offset] = refusal.reason, refusal.detail
                if refusal.reason in {BATCH_FAILED, DECISION_FAILED}:
                    self.given_up[refusal.offset] = refusal.reason, refusal.detail
        return span


class Redecider:
    """One intake partition. ``items`` is a state before ``position``; without them it begins at the beginning."""

    def __init__(
        self, kafka: KafkaSettings, partition: int, items: Mapping[bytes, bytes] | None = None, position: int = 0
    ) -> None:
        self._orchestrator = Orchestrator(kafka, partition)
        self.partition = partition
        self._state: dict[bytes, bytes] = dict(items or {})
        self._state.pop(POSITION, None)
        self.position = position
        for key, value in self._state.items():
            self._orchestrator.load(key, value)

    @property
    def state(self) -> Mapping[bytes, bytes]:
        """The items of the state, as they stand in the state topic; the position is not among them."""
        return self._state

    def follow(self, intake: Iterable[Record], cuts: Cuts) -> Iterator[tuple[Span | None, Writes]]:
        """Decide the intake from the position to the end of the last recorded span; what each batch writes.

        What lies between recorded spans caused no event: it is decided for the state's sake, and its span is None.
        Raises ``OtherDecider`` and ``IntakeGap``.
        """
        self._orchestrator.erased = cuts.erased
        records = iter(intake)
        held = next(records, None)
        for span in cuts.spans:
            if span.last < self.position:
                continue
            for first, last, named in ((self.position, span.first - 1, None), (span.first, span.last, span)):
                if named is not None and named.decider != DECIDER:
                    raise OtherDecider(named)
                batch: list[Record] = []
                while held is not None and held.offset <= last:
                    if held.offset >= first:
                        batch.append(held)
                    held = next(records, None)
                if named is not None and (not batch or (batch[0].offset, batch[-1].offset) != (first, last)):
                    raise IntakeGap(f"the intake does not hold all of {named}")
                for part in (batch,) if named is not None else _parts(batch):
                    yield named, self.decide(part, cuts)

    def decide(self, batch: Sequence[Record], cuts: Cuts) -> Writes:
        """Decide one batch, as the partition's owner did."""
        turn = self._orchestrator.turn(batch[0].offset, batch[-1].offset)
        for record in batch:
            known = cuts.refused if is_erased(record) else cuts.given_up
            if record.offset in known:
                turn.refuse(record, *known[record.offset])
                continue
            try:
                turn.take(record)
            except InvalidEvent as error:
                turn.refuse(record, error.reason, error.detail)
        writes = turn.finish()
        self._orchestrator.committed()
        for key, value in writes.state:
            if value is None:
                self._state.pop(key, None)
            else:
                self._state[key] = value
        self.position = batch[-1].offset + 1
        return writes


ERASED_HEADER = "erased"
"""Marks a record of the intake that could not be read and whose content was erased."""


def is_erased(record: Record) -> bool:
    """Whether nothing is left of an unreadable record's content."""
    return not record.value and any(name == ERASED_HEADER for name, _ in record.headers)


def _parts(batch: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for start in range(0, len(batch), _BATCH):
        yield batch[start : start + _BATCH]


def state_differences(ours: Mapping[bytes, bytes], theirs: Mapping[bytes, bytes]) -> list[str]:
    """Which items of a state are not what deciding again makes of them, in words.

    Ids of deliveries are kept by batch, and where a batch that caused no event ended, nobody has recorded: of them the
    whole is compared.
    """
    found = []
    kept = [{k: v for k, v in items.items() if k != POSITION and _kind(k) != "seen"} for items in (ours, theirs)]
    for key in sorted(kept[0].keys() | kept[1].keys()):
        if kept[0].get(key) != kept[1].get(key):
            tenant, kind, item = state_codec.split_key(key)
            how = "is missing" if key not in kept[1] else "should not be there" if key not in kept[0] else "was edited"
            found.append(f"the state's {kind} {item} of {tenant} {how}")
    if _seen(ours) != _seen(theirs):
        found.append("the state remembers other deliveries than were decided")
    return found


def _kind(key: bytes) -> str:
    return state_codec.split_key(key)[1]


def _seen(items: Mapping[bytes, bytes]) -> set[tuple[str, bytes]]:
    """Tenant and digest of every delivery that a state remembers."""
    return {
        (state_codec.split_key(key)[0], digest)
        for key, value in items.items()
        if key != POSITION and _kind(key) == "seen"
        for digest in digests_of(state_codec.decode("seen", value))
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """An event that is decided otherwise than it was recorded: which, by what rule, what differs."""

    tenant: str
    event_id: str
    type: str
    intakespan: str
    rule: str
    decider: str
    detail: str


def compare(kafka: KafkaSettings, span: Span, decided: Writes, recorded: Sequence[Record]) -> Difference | None:
    """The first event of a span that differs from its record, or none when all bytes are the same."""
    ours = [write for write in decided.outputs if write.topic == kafka.topic(EVENTS)]
    for write, record in zip(ours, recorded, strict=False):
        if (write.key, write.value, tuple(write.headers)) != (record.key, record.value, tuple(record.headers)):
            return _difference(record, _what_differs(write, record))
    if len(ours) < len(recorded):
        return _difference(recorded[len(ours)], f"{len(recorded)} events are recorded, {len(ours)} are decided")
    if len(ours) > len(recorded):
        extra = ours[len(recorded)]
        envelope, _, _ = cloudevents.decode_headers(extra.headers)
        detail = f"{len(ours)} events are decided, {len(recorded)} are recorded"
        return Difference(envelope.tenantid, envelope.id, envelope.type, str(span), "", DECIDER, detail)
    return None


def _difference(record: Record, detail: str) -> Difference:
    envelope, _, _ = cloudevents.decode_headers(record.headers)
    return Difference(
        envelope.tenantid, envelope.id, envelope.type, envelope.intakespan, rule_of(record), envelope.decider, detail
    )


def rule_of(record: Record) -> str:
    """The correlation rule that an event names, with its version; empty where none does."""
    envelope, _, _ = cloudevents.decode_headers(record.headers)
    if envelope.type not in BY_TYPE:
        return ""
    _, data = cloudevents.decode(record.headers, record.value)
    for one in (data, *getattr(data, "alerts", ())):
        name, version = getattr(one, "correlation_rule", ""), getattr(one, "correlation_version", 0)
        if not name and hasattr(one, "rule_version"):
            name, version = one.rule, one.rule_version
        if name:
            return f"{name} version {version}"
    return ""


def _what_differs(write: Write, record: Record) -> str:
    headers = [
        f"{ours[0]} is {ours[1].decode(errors='replace')}, recorded is {theirs[1].decode(errors='replace')}"
        for ours, theirs in zip(write.headers, record.headers, strict=False)
        if ours != theirs
    ]
    return "; ".join(headers[:3])[:400] or "its data"
