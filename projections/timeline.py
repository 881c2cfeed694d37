"""The timeline: every event of the record as one row, insert-only (R11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projections.base import Record, instant
from projections.connections import Connection
from projections.staging import Staging
from streams.domain.catalogue import Topic

COLUMNS = {
    "tenant_id": "text",
    "incident_id": "text",
    "sequence": "int8",
    "tenantsequence": "int8",
    "type": "text",
    "recorded_at": "timestamptz",
    "actor": "text",
    "data": "jsonb",
    "causation_id": "text",
    "correlation_id": "text",
    "prev_hash": "text",
    "hash": "text",
    "data_digest": "text",
    "data_salt": "text",
    "intake_span": "text",
    "decider": "text",
    "event_id": "text",
    "topic_partition": "int4",
    "topic_offset": "int8",
}


def row(record: Record) -> tuple[Any, ...]:
    """One row in the order of ``COLUMNS``; tenant events belong to the tenant's own stream, their subject."""
    envelope = record.envelope
    return (
        envelope.tenantid,
        envelope.subject,
        envelope.sequence,
        envelope.tenantsequence,
        envelope.type,
        instant(envelope.recordedtime),
        getattr(record.data, "actor", ""),
        record.json,
        envelope.causationid,
        envelope.correlationid,
        envelope.prevhash,
        envelope.hash,
        envelope.datadigest,
        envelope.datasalt,
        envelope.intakespan,
        envelope.decider,
        envelope.id,
        record.partition,
        record.offset,
    )


class Timeline:
    """Writes ``timeline_entries``."""

    name = "timeline_entries"
    topic: Topic = "incident-events"
    whole_log = True
    early = ()

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        self.tables = (f"read_data.timeline_entries_g{generation}",)
        self._staging = Staging(self.tables[0], COLUMNS)

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table."""
        self._staging.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Insert what is new."""
        return self._staging.load(connection, [row(record) for record in records])

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """Append rows."""
        return self._staging.append(connection, [row(record) for record in records])

    def unify(self, connection: Connection) -> None:
        """Nothing: an event that is there twice is damage, which the key refuses."""
