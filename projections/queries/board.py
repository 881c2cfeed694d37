"""Reading the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from projections.connections import AsyncConnection
from projections.queries.incidents import IncidentFilter, IncidentRow, list_incidents

_STATUSES = ("draft", "open", "mitigated", "resolved")


@dataclass(frozen=True, slots=True)
class BoardColumn:
    """A status, how many incidents have it, and the newest of them."""

    status: str
    count: int
    incidents: Sequence[IncidentRow]


async def board(connection: AsyncConnection, limit: int = 20) -> list[BoardColumn]:
    """The incidents that are not over, by status."""
    cursor = await connection.execute("SELECT status, count(*) FROM read.incidents GROUP BY status")
    counts = {str(status): int(count) for status, count in await cursor.fetchall()}
    return [
        BoardColumn(
            status, counts.get(status, 0), await list_incidents(connection, IncidentFilter(status=(status,)), None, limit)
        )
        for status in _STATUSES
    ]
