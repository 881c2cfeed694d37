"""Timers: due times of the record as rows, for the scheduler to turn into commands (R8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projections.base import Record, instant
from projections.connections import Connection
from projections.staging import Staging
from streams.domain import events
from streams.domain.catalogue import Topic
from streams.domain.envelope import derive_id

TABLE = "ops.timers"
CHANNEL = "incidents_timers"
"""Notified when timers were inserted."""

COLUMNS = {
    "timer_id": "text",
    "tenant_id": "text",
    "incident_id": "text",
    "timer": "text",
    "due": "timestamptz",
    "cause_id": "text",
    "sequence": "int8",
}

_SUPERSEDE = """
UPDATE ops.timers t SET state = 'superseded'
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS moved (tenant_id, incident_id, sequence)
WHERE t.tenant_id = moved.tenant_id AND t.incident_id = moved.incident_id
  AND t.sequence < moved.sequence AND t.state = 'pending' AND t.timer <> 'settle'
"""

_MOVES_ON = (events.StateChange, events.Resolved, events.Closed, events.Archived)


def row(record: Record) -> tuple[Any, ...] | None:
    """The timer that the event sets, in the order of ``COLUMNS``; its event is the timer's cause."""
    match record.data:
        case events.Resolved(due=due) if due:
            timer = "close"
        case events.Closed(due=due) if due:
            timer = "archive"
        case events.Merged(role="source", due=due) if due:
            timer = "archive"
        case events.Flapping(due=due) if due:
            timer = "settle"
        case _:
            return None
    envelope = record.envelope
    return (
        derive_id(envelope.subject, timer, envelope.id),
        envelope.tenantid,
        envelope.subject,
        timer,
        instant(due),
        envelope.id,
        envelope.sequence,
    )


def moves_on(data: object) -> bool:
    """Whether the event ends what the incident's earlier timers wait for."""
    return isinstance(data, _MOVES_ON) or (isinstance(data, events.Merged) and data.role == "source")


class Timers:
    """Writes ``ops.timers``: a timer is superseded as soon as a later event moves its incident on.

    One for flapping alerts is not: whatever becomes of the incident, they are looked at again.
    """

    name = "timers"
    generation = 1
    topic: Topic = "incident-events"
    whole_log = True
    tables = (TABLE,)

    def __init__(self) -> None:
        self._staging = Staging(TABLE, COLUMNS)

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table."""
        self._staging.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Insert the new timers, then supersede those that a later event of the same incident outdates."""
        moved: dict[tuple[str, str], int] = {}
        rows = []
        for record in records:
            envelope = record.envelope
            if moves_on(record.data):
                moved[envelope.tenantid, envelope.subject] = envelope.sequence
            timer = row(record)
            if timer is not None:
                rows.append(timer)
        written = self._staging.load(connection, sorted(rows))
        if moved:
            tenants, incidents = zip(*moved, strict=True)
            connection.execute(_SUPERSEDE, (list(tenants), list(incidents), list(moved.values())))
        if written:
            connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        return written
