"""Alerts: every accepted signal with its disposition, and what each alert of an incident is doing now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import args_row

from projections.alerts import Disposition
from projections.base import bounded, instant, milliseconds
from projections.connections import AsyncConnection
from projections.queries import cursors
from projections.queries.conditions import Conditions
from projections.queries.cursors import Cursor

_LISTING = "alerts:newest"
_KEY = (int, str, str)
_STATES = "incident-alerts"


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One signal, as ``read.alerts`` holds it."""

    tenant_id: str
    source: str
    signal_id: str
    disposition: Disposition
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
    links: dict[str, str]
    labels: dict[str, str]
    reason: str
    event_at: datetime
    recorded_at: datetime
    event_id: str
    topic_partition: int
    topic_offset: int


@dataclass(frozen=True, slots=True)
class IncidentAlertRow:
    """One alert of an incident over its whole life; ``occurrences`` counts its signals, resolving ones included."""

    incident_id: str
    alert_key: str
    firing: bool
    occurrences: int
    first_seen: datetime
    last_seen: datetime
    title: str
    fingerprint: str
    connector: str
    integration_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """What to list; empty fields do not restrict. ``ids`` are signal ids; ``since`` is compared with recorded time."""

    incident_id: str = ""
    disposition: tuple[str, ...] = ()
    status: str = ""
    service: str = ""
    fingerprint: str = ""
    source: str = ""
    ids: tuple[str, ...] = ()
    connector: str = ""
    since: datetime | None = None

    def conditions(self) -> Conditions:
        """The filter as SQL."""
        found = Conditions()
        found.equal(
            incident_id=self.incident_id,
            signal_status=self.status,
            service=bounded(self.service),
            fingerprint=bounded(self.fingerprint),
            source=bounded(self.source),
            connector=self.connector,
        )
        found.one_of(disposition=self.disposition, signal_id=[bounded(id_) for id_ in self.ids])
        if self.since:
            found.add("recorded_at >= %s", self.since)
        return found


def _columns(row: type) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(row))


_SELECT = sql.SQL("SELECT {} FROM read.alerts").format(_columns(AlertRow))
_SELECT_STATES = sql.SQL("SELECT {} FROM read.incident_alerts").format(_columns(IncidentAlertRow))


def parse_cursor(text: str) -> Cursor:
    """The cursor of a request for ``list_alerts``; raises ``BadCursor``."""
    return cursors.decode(text, _LISTING, _KEY)


def cursor_after(row: AlertRow) -> Cursor:
    """Where the page after this row begins."""
    return Cursor(_LISTING, (milliseconds(row.recorded_at), row.source, row.signal_id))


def parse_state_cursor(text: str) -> Cursor:
    """The cursor of a request for ``incident_alerts``; raises ``BadCursor``."""
    return cursors.decode(text, _STATES, (str,))


def state_cursor_after(row: IncidentAlertRow) -> Cursor:
    """Where the page of ``incident_alerts`` after this row begins."""
    return Cursor(_STATES, (row.alert_key,))


async def list_alerts(
    connection: AsyncConnection, wanted: AlertFilter, after: Cursor | None = None, limit: int = 50
) -> Sequence[AlertRow]:
    """At most ``limit`` signals behind ``after``, the newest recorded first."""
    conditions = wanted.conditions()
    if after is not None:
        at, source, signal_id = cursors.decode(after.encode(), _LISTING, _KEY).key
        assert isinstance(at, int), "decode checked the types"
        conditions.add("(recorded_at, source, signal_id) < (%s, %s, %s)", instant(at), source, signal_id)
    tail = sql.SQL(" ORDER BY recorded_at DESC, source DESC, signal_id DESC LIMIT %s")
    async with connection.cursor(row_factory=args_row(AlertRow)) as cursor:
        await cursor.execute(_SELECT + conditions.where() + tail, [*conditions.values, limit])
        return await cursor.fetchall()


async def incident_alerts(
    connection: AsyncConnection, incident_id: str, after: Cursor | None = None, limit: int = 100
) -> Sequence[IncidentAlertRow]:
    """The alerts of an incident by key, each with its present state."""
    conditions = Conditions()
    conditions.add("incident_id = %s", incident_id)
    if after is not None:
        conditions.add("alert_key > %s", *cursors.decode(after.encode(), _STATES, (str,)).key)
    async with connection.cursor(row_factory=args_row(IncidentAlertRow)) as cursor:
        tail = sql.SQL(" ORDER BY alert_key LIMIT %s")
        await cursor.execute(_SELECT_STATES + conditions.where() + tail, [*conditions.values, limit])
        return await cursor.fetchall()


async def disposition_counts(connection: AsyncConnection, wanted: AlertFilter | None = None) -> Mapping[str, int]:
    """How many signals ended in each disposition."""
    conditions = (wanted or AlertFilter()).conditions()
    query: Any = sql.SQL("SELECT disposition, count(*) FROM read.alerts") + conditions.where()
    cursor = await connection.execute(query + sql.SQL(" GROUP BY disposition"), conditions.values)
    return dict(await cursor.fetchall())
