"""Reading what became of signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, LiteralString, cast

from psycopg.rows import class_row

from projections.connections import AsyncConnection


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One row of ``read.alerts``."""

    source: str
    signal_id: str
    disposition: str
    signal_status: str
    incident_id: str
    alert_key: str
    fingerprint: str
    title: str
    severity: str
    service: str
    host: str
    error_type: str
    rule: str
    kind: str
    connector: str
    integration_id: str
    external_id: str
    correlation_rule: str
    correlation_version: int
    correlation_key: str
    links: dict[str, Any]
    labels: dict[str, Any]
    reason: str
    event_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Conditions that all must hold; empty ones hold always."""

    disposition: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    source: str = ""
    fingerprint: str = ""
    incident_id: str = ""


_COLUMNS = cast("LiteralString", ", ".join(field.name for field in fields(AlertRow)))


async def list_alerts(
    connection: AsyncConnection, chosen: AlertFilter, after: tuple[datetime, str, str] | None, limit: int
) -> Sequence[AlertRow]:
    """Signals, newest first."""
    where: list[LiteralString] = ["true"]
    values: list[Any] = []
    if chosen.disposition:
        where.append("disposition = ANY(%s)")
        values.append(list(chosen.disposition))
    if chosen.ids:
        where.append("signal_id = ANY(%s)")
        values.append(list(chosen.ids))
    if chosen.source:
        where.append("source = %s")
        values.append(chosen.source)
    if chosen.fingerprint:
        where.append("fingerprint = %s")
        values.append(chosen.fingerprint)
    if chosen.incident_id:
        where.append("incident_id = %s")
        values.append(chosen.incident_id)
    if after is not None:
        where.append("(recorded_at, source, signal_id) < (%s, %s, %s)")
        values.extend(after)
    statement = (
        f"SELECT {_COLUMNS} FROM read.alerts WHERE {' AND '.join(where)}"  # noqa: S608
        " ORDER BY recorded_at DESC, source DESC, signal_id DESC LIMIT %s"
    )
    async with connection.cursor(row_factory=class_row(AlertRow)) as cursor:
        await cursor.execute(statement, [*values, limit])
        return await cursor.fetchall()


async def lookup(connection: AsyncConnection, wanted: Sequence[tuple[str, str]]) -> Sequence[AlertRow]:
    """The signals with these sources and ids."""
    async with connection.cursor(row_factory=class_row(AlertRow)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM read.alerts WHERE (source, signal_id) IN"  # noqa: S608
            " (SELECT * FROM unnest(%s::text[], %s::text[]))",
            [[source for source, _ in wanted], [id_ for _, id_ in wanted]],
        )
        return await cursor.fetchall()
