"""Which intents of an archive are done and which are open, put into the outbox of a restored database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from projections.base import Record
from projections.connections import Connection
from projections.decoding import decode, record_of
from projections.outbox import COLUMNS, TABLE, OutboxResults, intent_row
from projections.staging import Staging
from streams.archive.reading import Archive
from streams.codec import cloudevents
from streams.domain import events
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import RecordEffect
from streams.runtime.partition_reader import StoredRecord

_ATTEMPTS = list(COLUMNS).index("attempts")
_RESULTS = frozenset({TYPE_OF[events.EffectDelivered].encode(), TYPE_OF[events.EffectFailed].encode()})
_REPORT = TYPE_OF[RecordEffect].encode()
INTENTS: Final = "outbox-intents"
_AT_ONCE = 2_000


def finish_known(archive: Archive, connection: Connection) -> tuple[int, int]:
    """Finish every intent whose result is in the record or, not decided yet, in the intake, and add the open ones.

    How many are finished and how many open. Open ones count as attempted once: whoever takes them looks at the
    provider before sending, since the effect may have taken place after the last backup.
    """
    results = OutboxResults()
    results.prepare(connection)
    finished: set[str] = set()
    batch: list[Record] = []
    for record in _results(archive):
        finished.add(record.data.intent_id)
        batch.append(record)
        if len(batch) >= _AT_ONCE:
            results.apply(connection, batch)
            batch = []
    results.apply(connection, batch)
    rows = _open_rows(archive, finished)
    staging = Staging(
        TABLE, COLUMNS, "(intent_id) DO UPDATE SET topic_offset = excluded.topic_offset WHERE t.state = 'pending'"
    )
    staging.prepare(connection)
    staging.load(connection, [rows[key] for key in sorted(rows)])
    counted = connection.execute("SELECT count(*) FROM ops.outbox_events WHERE state = 'pending'").fetchone()
    return len(finished), int(counted[0]) if counted else 0


def _open_rows(archive: Archive, finished: set[str]) -> dict[str, tuple[Any, ...]]:
    """Pending rows of the intents that have no result, with the offsets that the restore gives them: 0, 1, 2..."""
    rows = {}
    for _, partition in (place for place in archive.partitions() if place[0] == INTENTS):
        for offset, stored in enumerate(archive.records(archive.manifest(INTENTS, partition))):
            record = decode(INTENTS, partition, offset, stored.headers, stored.value)
            if record.data.intent_id not in finished:
                row = list(intent_row(record))
                row[_ATTEMPTS] = 1
                rows[record.data.intent_id] = tuple(row)
    return rows


def _results(archive: Archive) -> Iterator[Record]:
    for record in _of(archive, "incident-events"):
        if _type(record) in _RESULTS:
            yield decode("incident-events", record.partition, record.offset, record.headers, record.value)
    for record in _of(archive, "incident-intake"):
        if _type(record) == _REPORT:
            yield _as_result(record)


def _as_result(record: StoredRecord) -> Record:
    """What the record will say of a result that is still in the intake."""
    envelope, data = cloudevents.decode(record.headers, record.value)
    names = (data.intent_id, data.connector, data.integration_id, data.action, data.attempts)
    result: events.Event = (
        events.EffectDelivered(*names, external_ref=data.external_ref, detail=data.detail)
        if data.status == "delivered"
        else events.EffectFailed(*names, expired=data.status == "expired", detail=data.detail)
    )
    placed = type(envelope)(
        envelope.id,
        envelope.source,
        TYPE_OF[type(result)],
        envelope.tenantid,
        subject=data.incident_id,
        recordedtime=record.timestamp,
    )
    return record_of("incident-events", record.partition, record.offset, placed, result)


def _of(archive: Archive, topic: str) -> Iterator[StoredRecord]:
    for name, partition in archive.partitions():
        if name == topic:
            yield from archive.records(archive.manifest(name, partition))


def _type(record: StoredRecord) -> bytes:
    return next((value for name, value in record.headers if name == "ce_type"), b"")
