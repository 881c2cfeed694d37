"""Incidents: one, or a filtered list in pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, LiteralString

from psycopg import sql
from psycopg.rows import args_row

from projections import incident_rows
from projections.base import bounded
from projections.connections import AsyncConnection
from projections.incident_rows import IncidentRow
from projections.queries import cursors
from projections.queries.conditions import Conditions, containing, storable
from projections.queries.cursors import Cursor

__all__ = ["IncidentFilter", "IncidentRow", "Sort", "cursor_after", "get_incident", "list_incidents", "parse_cursor"]

Sort = Literal["newest", "oldest", "severity"]

COLUMNS = sql.SQL(", ").join(map(sql.Identifier, incident_rows.COLUMNS))
_SELECT = sql.SQL("SELECT {} FROM read.incidents").format(COLUMNS)
_NUMBER = re.compile(r"(?:INC-)?([1-9][0-9]{0,17})", re.ASCII | re.IGNORECASE)

# A tenant's numbers follow its recorded time, so that the number alone orders by age.
_ORDER: dict[Sort, tuple[LiteralString, LiteralString, tuple[type, ...]]] = {
    "newest": ("number DESC", "number < %s", (int,)),
    "oldest": ("number", "number > %s", (int,)),
    "severity": ("severity, number DESC", "(severity > %s OR (severity = %s AND number < %s))", (str, int)),
}


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """What to list; empty fields do not restrict. ``text`` is searched in title and description.

    Times are compared with ``created_at`` (``created_since`` <= it < ``created_until``) and ``updated_at``.
    Incidents that were merged into others are left out unless ``include_merged``.
    """

    status: tuple[str, ...] = field(default=())
    severity: tuple[str, ...] = field(default=())
    service: str = ""
    assignee: str = ""
    text: str = ""
    created_since: datetime | None = None
    created_until: datetime | None = None
    updated_since: datetime | None = None
    firing: bool | None = None
    include_merged: bool = False

    def conditions(self) -> Conditions:
        """The filter as SQL."""
        found = Conditions()
        found.one_of(status=self.status, severity=self.severity)
        found.equal(service=bounded(self.service), assignee=bounded(self.assignee))
        if self.text:
            found.add("(title ILIKE %s OR description ILIKE %s)", *[containing(self.text)] * 2)
        if self.created_since:
            found.add("created_at >= %s", self.created_since)
        if self.created_until:
            found.add("created_at < %s", self.created_until)
        if self.updated_since:
            found.add("updated_at >= %s", self.updated_since)
        if self.firing is not None:
            found.add("(firing_count > 0) = %s", self.firing)
        if not self.include_merged:
            found.add("merged_into = ''")
        return found


def parse_cursor(text: str, sort: Sort) -> Cursor:
    """The cursor of a request for this order; raises ``BadCursor``."""
    return cursors.decode(text, f"incidents:{sort}", _ORDER[sort][2])


def cursor_after(row: IncidentRow, sort: Sort) -> Cursor:
    """Where the page after this row begins."""
    return Cursor(f"incidents:{sort}", (row.severity, row.number) if sort == "severity" else (row.number,))


async def list_incidents(
    connection: AsyncConnection,
    wanted: IncidentFilter,
    after: Cursor | None = None,
    limit: int = 50,
    sort: Sort = "newest",
) -> Sequence[IncidentRow]:
    """At most ``limit`` incidents behind ``after``; ask for one more than a page to know whether another follows.

    Raises ``BadCursor`` for a cursor of another order.
    """
    order, behind, types = _ORDER[sort]
    conditions = wanted.conditions()
    if after is not None:
        key = cursors.decode(after.encode(), f"incidents:{sort}", types).key
        conditions.add(behind, *((key[0], *key) if sort == "severity" else key))
    query = _SELECT + conditions.where() + sql.SQL(" ORDER BY ") + sql.SQL(order) + sql.SQL(" LIMIT %s")
    async with connection.cursor(row_factory=args_row(IncidentRow)) as cursor:
        await cursor.execute(query, [*conditions.values, limit])
        return await cursor.fetchall()


async def get_incident(connection: AsyncConnection, name: str) -> IncidentRow | None:
    """The incident with this id or this number (``INC-12`` or ``12``), or None."""
    number = _NUMBER.fullmatch(name)
    condition, value = (sql.SQL("number"), int(number[1])) if number else (sql.SQL("incident_id"), name)
    if not storable(name):
        return None
    async with connection.cursor(row_factory=args_row(IncidentRow)) as cursor:
        await cursor.execute(_SELECT + sql.SQL(" WHERE {} = %s").format(condition), [value])
        return await cursor.fetchone()
