"""The outbox: planned side effects as rows that the dispatcher leases, and what became of them (R7).

An intent comes from ``outbox-intents``, its result from ``incident-events``; either may be read first. Both write the
same row, and the first to come inserts it: an intent whose result is in the record is never pending again, also when
the rows were lost and are made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projections.base import Record, instant, instant_or_none
from projections.connections import Connection
from projections.decoding import jsonb
from projections.staging import Staging
from streams.domain import events, outputs
from streams.domain.catalogue import Topic
from streams.domain.ticket_events import SyncCompleted, SyncFailed

TABLE = "ops.outbox_events"
CHANNEL = "incidents_outbox"
"""Notified when intents were inserted."""

COLUMNS = {
    "intent_id": "text",
    "tenant_id": "text",
    "incident_id": "text",
    "connector": "text",
    "integration_id": "text",
    "action": "text",
    "external_id": "text",
    "idempotency_key": "text",
    "payload": "jsonb",
    "event_id": "text",
    "created_at": "timestamptz",
    "not_after": "timestamptz",
    "state": "text",
    "attempts": "int4",
    "next_attempt_at": "timestamptz",
    "last_error": "text",
    "finished_at": "timestamptz",
    "topic_partition": "int4",
    "topic_offset": "int8",
}
Row = tuple[Any, ...]


def intent_row(record: Record) -> Row:
    """A pending row in the order of ``COLUMNS``; it may be sent from the moment it was planned."""
    intent: outputs.Intent = record.data
    created = instant(intent.created)
    return (
        intent.intent_id,
        record.envelope.tenantid,
        intent.incident_id,
        intent.connector,
        intent.integration_id,
        intent.action,
        intent.external_id,
        intent.idempotency_key,
        jsonb(intent.payload),
        intent.event_id,
        created,
        instant_or_none(intent.not_after),
        "pending",
        0,
        created,
        "",
        None,
        record.partition,
        record.offset,
    )


Result = events.EffectDelivered | events.EffectFailed | SyncCompleted | SyncFailed
"""The events that end an intent."""


def result_row(record: Record, result: Result) -> Row:
    """A finished row in the order of ``COLUMNS``; all that is known of the intent is what its result says."""
    recorded = instant(record.envelope.recordedtime)
    delivered = isinstance(result, events.EffectDelivered | SyncCompleted) or _answered(result)
    expired = isinstance(result, events.EffectFailed) and result.expired
    state = "delivered" if delivered else "expired" if expired else "failed"
    return (
        result.intent_id,
        record.envelope.tenantid,
        record.envelope.subject,
        result.connector,
        result.integration_id,
        result.action,
        *["", "", jsonb({}), "", recorded, None],
        state,
        result.attempts,
        recorded,
        "" if delivered else result.detail,
        recorded,
        record.partition,
        record.offset,
    )


def _answered(result: Result) -> bool:
    """Whether a ticket intent that changed nothing was carried out all the same: it found what it did not expect."""
    return isinstance(result, SyncFailed) and result.kind == "stale"


class Outbox:
    """Inserts pending rows; what was inserted before, also by its result, stays as it is."""

    name = "outbox"
    generation = 1
    topic: Topic = "outbox-intents"
    whole_log = False
    tables = (TABLE,)

    def __init__(self) -> None:
        self._staging = Staging(TABLE, COLUMNS)

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table."""
        self._staging.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Insert what is new and wake the dispatchers."""
        rows = {record.data.intent_id: intent_row(record) for record in reversed(records)}
        written = self._staging.load(connection, [rows[key] for key in sorted(rows)])
        if written:
            connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return written


class OutboxResults:
    """Finishes rows whose result is in the record, if the dispatcher has not done so itself."""

    name = "outbox_results"
    generation = 1
    topic: Topic = "incident-events"
    whole_log = True
    tables = (TABLE,)

    def __init__(self) -> None:
        self._staging = Staging(
            TABLE,
            COLUMNS,
            "(intent_id) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,"
            " last_error = excluded.last_error, finished_at = excluded.finished_at,"
            " leased_by = NULL, leased_until = NULL WHERE t.state = 'pending'",
        )

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table, unless the other projection of the outbox has."""
        self._staging.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Write the results; the first one of an intent counts."""
        rows: dict[str, Row] = {}
        for record in records:
            if isinstance(record.data, Result) and record.data.intent_id:
                rows.setdefault(record.data.intent_id, result_row(record, record.data))
        return self._staging.load(connection, [rows[key] for key in sorted(rows)])
