"""Subscribers that come back with their cursor saw each timeline event exactly once, in order."""

from __future__ import annotations

from collections import defaultdict

from api.live.events import RecordedEvent
from infra.torture.evidence import Evidence, Finding
from infra.torture.log import StoredRecord
from infra.torture.subscribers import Seen, digest
from streams.domain.envelope import Envelope


def as_shown(record: StoredRecord, envelope: Envelope) -> Seen:
    """What a subscriber must have seen of a record."""
    data = RecordedEvent.from_record(list(record.headers), record.value).data
    return Seen(envelope.id, envelope.subject, envelope.sequence, envelope.tenantsequence, digest(data))


def saw_everything_once(evidence: Evidence) -> Finding:
    """What each of them saw is the tenant's record, from the first event to the last."""
    finding = Finding("reconnecting subscribers saw each event exactly once, in order")
    recorded: dict[str, list[Seen]] = defaultdict(list)
    for record, envelope, _ in evidence.events:
        recorded[envelope.tenantid].append(as_shown(record, envelope))
    for subscriber in evidence.subscribers:
        name = f"{subscriber.transport} subscriber of {subscriber.tenant}"
        if subscriber.resets:
            finding.add(f"the {name} was told to start anew {subscriber.resets} times")
        expected = recorded[subscriber.tenant]
        if subscriber.seen == expected:
            continue
        place = next(
            (n for n, (a, b) in enumerate(zip(subscriber.seen, expected, strict=False)) if a != b),
            min(len(subscriber.seen), len(expected)),
        )
        got = subscriber.seen[place] if place < len(subscriber.seen) else "nothing"
        due = expected[place] if place < len(expected) else "nothing"
        seen = {one.id for one in subscriber.seen}
        finding.add(
            f"the {name} saw {got} where {due} was due (event {place + 1} of {len(expected)},"
            f" {subscriber.connections} connections)",
            lost=len({one.id for one in expected} - seen),
            duplicates=len(subscriber.seen) - len(seen),
        )
    finding.counts["connections"] = sum(one.connections for one in evidence.subscribers)
    return finding
