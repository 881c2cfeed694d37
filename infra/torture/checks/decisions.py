"""Deciding the recorded intake again, cut at the recorded spans, gives the recorded events byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.torture.evidence import Decoded, Evidence, Finding
from infra.torture.log import StoredRecord
from streams.agents.orchestrator import EVENTS, Orchestrator
from streams.domain import events
from streams.domain.errors import InvalidEvent
from streams.runtime.partition import BATCH_FAILED, DECISION_FAILED
from streams.runtime.ports import Turn, Write

Span = tuple[int, int]


def again(evidence: Evidence) -> Finding:
    """Each partition by itself, from its first record on."""
    finding = Finding("deciding the intake again gives the recorded events, byte for byte")
    for partition, intake in evidence.intake.items():
        recorded = [one for one in evidence.events if one.record.partition == partition]
        decided = list(_decide(evidence, partition, intake, recorded))
        _compare(finding, partition, decided, recorded)
    return finding


def _decide(
    evidence: Evidence, partition: int, intake: Sequence[StoredRecord], recorded: Sequence[Decoded]
) -> Iterator[Write]:
    orchestrator = Orchestrator(evidence.kafka, partition)
    events_topic = evidence.kafka.topic(EVENTS)
    given_up = {
        one.data.offset: one.data.detail
        for one in recorded
        if isinstance(one.data, events.IntakeRefused) and one.data.reason == BATCH_FAILED
    }
    for batch in _cut(intake, recorded):
        turn = orchestrator.turn(batch[0].offset, batch[-1].offset)
        for record in batch:
            if record.offset in given_up:
                turn.refuse(record, BATCH_FAILED, given_up[record.offset])
            else:
                _take(turn, record)
        yield from (write for write in turn.finish().outputs if write.topic == events_topic)
        orchestrator.committed()


def _take(turn: Turn, record: StoredRecord) -> None:
    """As the partition loop does it."""
    try:
        turn.take(record)
    except InvalidEvent as error:
        turn.refuse(record, error.reason, error.detail)
    except ValueError as error:
        turn.refuse(record, DECISION_FAILED, repr(error))


def _cut(intake: Sequence[StoredRecord], recorded: Sequence[Decoded]) -> Iterator[list[StoredRecord]]:
    """The batches of the recorded spans; what lies between them caused no event, so any cut will do there."""
    spans = sorted({_span(one.envelope.intakespan) for one in recorded})
    batch: list[StoredRecord] = []
    place = 0
    for record in intake:
        while place < len(spans) and record.offset > spans[place][1]:
            place += 1
            if batch:
                yield batch
                batch = []
        if batch and place < len(spans) and record.offset == spans[place][0]:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _span(text: str) -> Span:
    _, first, last = text.split(":")
    return int(first), int(last)


def _compare(finding: Finding, partition: int, decided: Sequence[Write], recorded: Sequence[Decoded]) -> None:
    for place, (ours, one) in enumerate(zip(decided, recorded, strict=False)):
        record = one.record
        theirs = (record.key, record.value, tuple(record.headers))
        if (ours.key, ours.value, tuple(ours.headers)) != theirs:
            different = [f"{a} / {b}" for a, b in zip(ours.headers, record.headers, strict=False) if a != b]
            finding.add(
                f"partition {partition}, event {place + 1} ({one.envelope.id}, intake {one.envelope.intakespan})"
                f" is decided otherwise: {'; '.join(different)[:400] or 'its data'}"
            )
            return  # what follows differs in its hashes at least
    if len(decided) != len(recorded):
        finding.add(f"partition {partition}: {len(decided)} events are decided, {len(recorded)} are recorded")
