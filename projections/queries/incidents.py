"""Reading incidents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, LiteralString, cast

from psycopg.rows import class_row

from projections.connections import AsyncConnection


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One row of ``read.incidents``."""

    incident_id: str
    number: int
    title: str
    status: str
    severity: str
    service: str
    description: str
    assignee: str
    acknowledged_by: str
    acknowledged_at: datetime | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    closed_at: datetime | None
    archived_at: datetime | None
    revision: int
    sequence: int
    alert_count: int
    repeat_count: int
    firing_count: int
    first_signal_at: datetime | None
    last_signal_at: datetime | None
    merged_into: str
    related_to: str
    relation: str
    rule: str
    rule_version: int
    correlation_key: str


@dataclass(frozen=True, slots=True)
class IncidentFilter:
    """Conditions that all must hold; empty ones hold always."""

    status: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    assignee: str = ""


_COLUMNS = cast("LiteralString", ", ".join(field.name for field in fields(IncidentRow)))


async def list_incidents(
    connection: AsyncConnection, chosen: IncidentFilter, after: int | None, limit: int
) -> Sequence[IncidentRow]:
    """Incidents by number, newest first, with numbers below ``after``."""
    where: list[LiteralString] = ["true"]
    values: list[Any] = []
    if chosen.status:
        where.append("status = ANY(%s)")
        values.append(list(chosen.status))
    if chosen.severity:
        where.append("severity = ANY(%s)")
        values.append(list(chosen.severity))
    if chosen.service:
        where.append("service = ANY(%s)")
        values.append(list(chosen.service))
    if chosen.assignee:
        where.append("assignee = %s")
        values.append(chosen.assignee)
    if after is not None:
        where.append("number < %s")
        values.append(after)
    statement = f"SELECT {_COLUMNS} FROM read.incidents WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT %s"  # noqa: S608
    async with connection.cursor(row_factory=class_row(IncidentRow)) as cursor:
        await cursor.execute(statement, [*values, limit])
        return await cursor.fetchall()


async def incidents_by_id(connection: AsyncConnection, ids: Sequence[str]) -> Sequence[IncidentRow]:
    """The incidents with these ids."""
    async with connection.cursor(row_factory=class_row(IncidentRow)) as cursor:
        await cursor.execute(f"SELECT {_COLUMNS} FROM read.incidents WHERE incident_id = ANY(%s)", [list(ids)])  # noqa: S608
        return await cursor.fetchall()


async def get_incident(connection: AsyncConnection, reference: str) -> IncidentRow | None:
    """The incident of an id or a number."""
    number = reference[4:] if reference[:4].upper() == "INC-" else ""
    async with connection.cursor(row_factory=class_row(IncidentRow)) as cursor:
        if number.isascii() and number.isdigit() and len(number) <= 18:
            await cursor.execute(f"SELECT {_COLUMNS} FROM read.incidents WHERE number = %s", [int(number)])  # noqa: S608
        else:
            await cursor.execute(f"SELECT {_COLUMNS} FROM read.incidents WHERE incident_id = %s", [reference])  # noqa: S608
        return await cursor.fetchone()
