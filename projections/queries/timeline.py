"""Reading events as the timeline holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row

from projections.connections import AsyncConnection


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One row of ``read.timeline_entries``."""

    event_id: str
    incident_id: str
    sequence: int
    tenantsequence: int
    type: str
    recorded_at: datetime
    actor: str
    data: dict[str, Any]
    causation_id: str
    correlation_id: str


_COLUMNS: LiteralString = (
    "event_id, incident_id, sequence, tenantsequence, type, recorded_at, actor, data, causation_id, correlation_id"
)


async def timeline(
    connection: AsyncConnection, incident_id: str, after_sequence: int, limit: int, types: Sequence[str] = ()
) -> Sequence[TimelineRow]:
    """The events of an incident behind a sequence, ascending."""
    async with connection.cursor(row_factory=class_row(TimelineRow)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM read.timeline_entries WHERE incident_id = %s AND sequence > %s"  # noqa: S608
            " AND (%s::text[] = '{}' OR type = ANY(%s)) ORDER BY sequence LIMIT %s",
            [incident_id, after_sequence, list(types), list(types), limit],
        )
        return await cursor.fetchall()


async def tenant_events(
    connection: AsyncConnection,
    after_tenantsequence: int,
    until: int,
    limit: int,
    types: Sequence[str] = (),
    incident_id: str = "",
) -> Sequence[TimelineRow]:
    """The tenant's events with ``after < tenantsequence <= until``, ascending."""
    async with connection.cursor(row_factory=class_row(TimelineRow)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM read.timeline_entries WHERE tenantsequence > %s AND tenantsequence <= %s"  # noqa: S608
            " AND (%s::text[] = '{}' OR type = ANY(%s)) AND (%s = '' OR incident_id = %s)"
            " ORDER BY tenantsequence LIMIT %s",
            [after_tenantsequence, until, list(types), list(types), incident_id, incident_id, limit],
        )
        return await cursor.fetchall()


async def last_tenantsequence(connection: AsyncConnection) -> int:
    """The tenant's last stored event; 0 when there is none."""
    cursor = await connection.execute("SELECT max(tenantsequence) FROM read.timeline_entries")
    row = await cursor.fetchone()
    return int(row[0]) if row and row[0] is not None else 0
