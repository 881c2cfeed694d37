"""The timeline of an incident, and a tenant's whole event stream (also for Last-Event-ID)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import args_row

from projections.connections import AsyncConnection
from projections.queries.conditions import Conditions


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One event of the record, as ``read.timeline_entries`` holds it; ``data`` is the event's data as JSON."""

    tenant_id: str
    incident_id: str
    sequence: int
    tenantsequence: int
    type: str
    recorded_at: datetime
    actor: str
    data: dict[str, Any]
    causation_id: str
    correlation_id: str
    prev_hash: str
    hash: str
    data_digest: str
    data_salt: str
    intake_span: str
    decider: str
    event_id: str
    topic_partition: int
    topic_offset: int


_SELECT = sql.SQL("SELECT {} FROM read.timeline_entries").format(
    sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(TimelineRow))
)


async def timeline(
    connection: AsyncConnection,
    incident_id: str,
    after_sequence: int = 0,
    limit: int = 100,
    types: tuple[str, ...] = (),
    as_of: datetime | None = None,
) -> Sequence[TimelineRow]:
    """An incident's events behind a sequence, in order.

    ``types`` restricts them to those event types, ``as_of`` to those that were recorded by then.
    """
    conditions = Conditions()
    conditions.add("incident_id = %s AND sequence > %s", incident_id, after_sequence)
    if as_of is not None:
        conditions.add("recorded_at <= %s", as_of)
    conditions.one_of(type=types)
    return await _fetch(connection, conditions, " ORDER BY sequence LIMIT %s", limit)


async def tenant_events(
    connection: AsyncConnection,
    after_tenantsequence: int = 0,
    until: int | None = None,
    limit: int = 500,
    types: tuple[str, ...] = (),
    incident_id: str = "",
) -> Sequence[TimelineRow]:
    """The tenant's events behind a tenantsequence, up to and with ``until``, in order."""
    conditions = Conditions()
    conditions.add("tenantsequence > %s", after_tenantsequence)
    if until is not None:
        conditions.add("tenantsequence <= %s", until)
    conditions.one_of(type=types)
    conditions.equal(incident_id=incident_id)
    return await _fetch(connection, conditions, " ORDER BY tenantsequence LIMIT %s", limit)


async def last_tenantsequence(connection: AsyncConnection) -> int:
    """The number of the tenant's newest event; 0 when there is none."""
    cursor = await connection.execute("SELECT coalesce(max(tenantsequence), 0) FROM read.timeline_entries")
    return _number(await cursor.fetchone())


async def oldest(connection: AsyncConnection) -> int:
    """The number of the oldest event that is there; 0 when there is none."""
    cursor = await connection.execute("SELECT coalesce(min(tenantsequence), 0) FROM read.timeline_entries")
    return _number(await cursor.fetchone())


def _number(row: tuple[Any, ...] | None) -> int:
    assert row is not None, "an aggregate gives a row"
    return int(row[0])


async def _fetch(connection: AsyncConnection, conditions: Conditions, tail: Any, limit: int) -> Sequence[TimelineRow]:
    async with connection.cursor(row_factory=args_row(TimelineRow)) as cursor:
        await cursor.execute(_SELECT + conditions.where() + sql.SQL(tail), [*conditions.values, limit])
        return await cursor.fetchall()
