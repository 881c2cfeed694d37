"""The board: columns by status with the worst incidents on top, and what is going on in each service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import args_row, class_row

from projections.connections import AsyncConnection
from projections.incident_rows import IncidentRow
from projections.queries.incidents import COLUMNS
from projections.queries.tickets import SyncSummary, summary

ENDED = ("closed", "canceled")
"""Statuses of incidents that nobody works on any more."""


@dataclass(frozen=True, slots=True)
class Column:
    """The incidents of one status: how many there are, and the first of them."""

    status: str
    count: int
    cards: Sequence[IncidentRow]


@dataclass(frozen=True, slots=True)
class Board:
    """The columns, and how tickets in other systems stand."""

    columns: Sequence[Column]
    sync: SyncSummary


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """The incidents of one service that have not ended; ``worst_severity`` is of ``SEV-1`` to ``SEV-5``."""

    service: str
    incidents: int
    firing_alerts: int
    worst_severity: str
    updated_at: datetime


_COUNTS = "SELECT status, count(*) FROM read.incidents WHERE merged_into = '' GROUP BY status ORDER BY status"
_CARDS = sql.SQL("""
SELECT {columns} FROM unnest(%s::text[]) AS wanted (wanted_status)
CROSS JOIN LATERAL (
  SELECT * FROM read.incidents WHERE status = wanted_status AND merged_into = ''
  ORDER BY severity, number DESC LIMIT %s
) card
ORDER BY status, severity, number DESC
""").format(columns=COLUMNS)
_SERVICES = """
SELECT service, count(*) AS incidents, sum(firing_count)::bigint AS firing_alerts, min(severity) AS worst_severity,
       max(updated_at) AS updated_at
FROM read.incidents WHERE merged_into = '' AND status <> ALL (%s)
GROUP BY service ORDER BY worst_severity, incidents DESC, service LIMIT %s
"""


async def board(connection: AsyncConnection, per_column_limit: int = 20) -> Board:
    """A column for each status that has incidents, in alphabetical order, merged ones left out.

    Cards are ordered by severity, then the newest first.
    """
    counts = await (await connection.execute(_COUNTS)).fetchall()
    async with connection.cursor(row_factory=args_row(IncidentRow)) as cursor:
        await cursor.execute(_CARDS, [[status for status, _ in counts], per_column_limit])
        cards = await cursor.fetchall()
    columns = [Column(status, count, [card for card in cards if card.status == status]) for status, count in counts]
    return Board(columns, await summary(connection))


async def services(connection: AsyncConnection, limit: int = 100) -> Sequence[ServiceSummary]:
    """Services with incidents that have not ended, the worst first."""
    async with connection.cursor(row_factory=class_row(ServiceSummary)) as cursor:
        await cursor.execute(_SERVICES, [list(ENDED), limit])
        return await cursor.fetchall()
