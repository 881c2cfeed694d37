"""Which intents of an archive are done and which are open, put into the outbox of a restored database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args

from projections.base import Record
from projections.connections import Connection
from projections.decoding import decode, record_of
from projections.outbox import COLUMNS, TABLE, OutboxResults, Result, intent_row
from projections.staging import Staging
from streams.archive.reading import Archive
from streams.codec import cloudevents
from streams.domain import events
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import RecordEffect
from streams.domain.envelope import Envelope
from streams.domain.errors import InvalidEvent
from streams.domain.ticket_events import SyncCompleted, SyncFailed
from streams.domain.ticket_files import RecordFiles
from streams.domain.tickets import RecordTicket
from streams.runtime.partition_reader import StoredRecord

_ATTEMPTS = list(COLUMNS).index("attempts")
Report = RecordEffect | RecordTicket | RecordFiles
"""What the dispatcher says became of an intent."""

_RESULTS, _REPORTS = (frozenset(TYPE_OF[kind].encode() for kind in get_args(union)) for union in (Result, Report))
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
        if _type(record) not in _REPORTS:
            continue
        try:
            envelope, report = cloudevents.decode(record.headers, record.value)
        except InvalidEvent:
            continue  # a dead letter: nobody will decide it either
        yield _as_result(record, envelope, report)


def _as_result(record: StoredRecord, envelope: Envelope, report: Report) -> Record:
    """What the record will say of a report that is still in the intake."""
    result = result_of(report)
    placed = Envelope(
        envelope.id,
        envelope.source,
        TYPE_OF[type(result)],
        envelope.tenantid,
        subject=report.incident_id,
        recordedtime=record.timestamp,
    )
    return record_of("incident-events", record.partition, record.offset, placed, result)


def result_of(report: Report) -> Result:
    """How an intent ended that is reported so, as far as the outbox is concerned."""
    names = (report.intent_id, report.connector, report.integration_id, report.action)
    if isinstance(report, RecordEffect):
        if report.status == "delivered":
            return events.EffectDelivered(
                *names, report.attempts, external_ref=report.external_ref, detail=report.detail
            )
        return events.EffectFailed(*names, report.attempts, expired=report.status == "expired", detail=report.detail)
    if report.status == "done":
        return SyncCompleted("", *names, mapping_version=0, attempts=report.attempts, detail=report.detail)
    kind = "refused" if report.status == "failed" else report.status
    return SyncFailed("", *names, kind, report.attempts, detail=report.detail)


def _of(archive: Archive, topic: str) -> Iterator[StoredRecord]:
    for name, partition in archive.partitions():
        if name == topic:
            yield from archive.records(archive.manifest(name, partition))


def _type(record: StoredRecord) -> bytes:
    return next((value for name, value in record.headers if name == "ce_type"), b"")
