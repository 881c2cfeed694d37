"""What the API reads: the queries of the read models, with cursors as text and events as clients see them.

Every method raises ``Unavailable`` while the database does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from api.database import Database
from api.live.events import RecordedEvent
from api.live.follow import Selection
from api.problems import Problem
from projections.queries import alerts as alert_queries
from projections.queries import board as board_queries
from projections.queries import incidents as incident_queries
from projections.queries import paging
from projections.queries import timeline as timeline_queries
from projections.queries.alerts import AlertFilter, AlertRow
from projections.queries.board import BoardColumn
from projections.queries.incidents import IncidentFilter, IncidentRow
from projections.queries.timeline import TimelineRow
from streams.domain.envelope import Envelope

T = TypeVar("T")
MAX_PAGE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECKPOINTS = """
SELECT c.partition, min(c.next_offset) FROM ops.projection_checkpoints c
JOIN ops.projection_active a USING (projection, generation)
WHERE c.topic = 'incident-events' AND c.projection = ANY(%s)
GROUP BY c.partition HAVING count(*) = %s
"""
_SERVING = ["timeline_entries", "incidents", "alerts"]
"""The projections that answers are read from; an event is shown once all of them have passed it."""


class Reads:
    """Reads of one tenant at a time, each in a session of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def checkpoints(self) -> Mapping[int, int]:
        """Each partition's next offset of ``incident-events`` that all serving projections have passed."""
        async with self._database.anybody() as connection:
            cursor = await connection.execute(_CHECKPOINTS, [_SERVING, len(_SERVING)])
            return {int(partition): int(offset) for partition, offset in await cursor.fetchall()}

    async def incident(self, tenant_id: str, reference: str) -> IncidentRow | None:
        """The incident of an id or number."""
        async with self._database.tenant(tenant_id) as connection:
            return await incident_queries.get_incident(connection, storable(reference))

    async def incidents_by_id(self, tenant_id: str, ids: Sequence[str]) -> Sequence[IncidentRow]:
        """The incidents with these ids; unknown ones are left out."""
        async with self._database.tenant(tenant_id) as connection:
            return await incident_queries.incidents_by_id(connection, ids)

    async def incidents(
        self,
        tenant_id: str,
        *,
        status: Sequence[str] = (),
        severity: Sequence[str] = (),
        service: Sequence[str] = (),
        assignee: str = "",
        after: str | None = None,
        limit: int = 50,
    ) -> tuple[Sequence[IncidentRow], str | None]:
        """A page of incidents, newest first, and the cursor of the next one."""
        chosen = IncidentFilter(tuple(status), tuple(severity), tuple(service), assignee)
        storable(*status, *severity, *service, assignee)
        behind = int(_key(after, int)[0]) if after else None
        async with self._database.tenant(tenant_id) as connection:
            rows = await incident_queries.list_incidents(connection, chosen, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: paging.encode(row.number))

    async def timeline(
        self, tenant_id: str, incident_id: str, *, types: Sequence[str] = (), after: str | None = None, limit: int = 100
    ) -> tuple[Sequence[RecordedEvent], str | None]:
        """A page of an incident's events, oldest first."""
        behind = int(_key(after, int)[0]) if after else 0
        async with self._database.tenant(tenant_id) as connection:
            rows = await timeline_queries.timeline(
                connection, storable(incident_id), behind, _limit(limit) + 1, types
            )
        page, cursor = _page(rows, limit, lambda row: paging.encode(row.sequence))
        return [event_of(tenant_id, row) for row in page], cursor

    async def alerts(
        self,
        tenant_id: str,
        *,
        disposition: Sequence[str] = (),
        ids: Sequence[str] = (),
        source: str = "",
        fingerprint: str = "",
        incident_id: str = "",
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[Sequence[AlertRow], str | None]:
        """A page of signals, newest first."""
        storable(*disposition, *ids, source, fingerprint, incident_id)
        chosen = AlertFilter(tuple(disposition), tuple(ids), source, fingerprint, incident_id)
        behind = _alert_key(after) if after else None
        async with self._database.tenant(tenant_id) as connection:
            rows = await alert_queries.list_alerts(connection, chosen, behind, _limit(limit) + 1)
        return _page(
            rows,
            limit,
            lambda row: paging.encode(
                (row.recorded_at - _EPOCH) // timedelta(microseconds=1), row.source, row.signal_id
            ),
        )

    async def alerts_by_id(self, tenant_id: str, wanted: Sequence[tuple[str, str]]) -> Sequence[AlertRow]:
        """The signals with these sources and ids; unknown ones are left out."""
        async with self._database.tenant(tenant_id) as connection:
            return await alert_queries.lookup(connection, wanted)

    async def board(self, tenant_id: str) -> list[BoardColumn]:
        """The incidents that are not over, by status."""
        async with self._database.tenant(tenant_id) as connection:
            return await board_queries.board(connection)

    async def last(self, tenant_id: str) -> int:
        """The tenant's last stored ``tenantsequence``."""
        async with self._database.tenant(tenant_id) as connection:
            return await timeline_queries.last_tenantsequence(connection)

    async def after(self, selection: Selection, after: int, until: int, limit: int) -> Sequence[RecordedEvent]:
        """Selected events with ``after < tenantsequence <= until``, ascending, at most ``limit``."""
        async with self._database.tenant(selection.tenant_id) as connection:
            rows = await timeline_queries.tenant_events(
                connection, after, until, limit, sorted(selection.types), selection.incident_id
            )
        return [event_of(selection.tenant_id, row) for row in rows]


def event_of(tenant_id: str, row: TimelineRow) -> RecordedEvent:
    """A stored event as the live path shows it."""
    envelope = Envelope(
        id=row.event_id,
        source="",
        type=row.type,
        tenantid=tenant_id,
        subject=row.incident_id,
        correlationid=row.correlation_id,
        causationid=row.causation_id,
        sequence=row.sequence,
        tenantsequence=row.tenantsequence,
        recordedtime=(row.recorded_at - _EPOCH) // timedelta(milliseconds=1),
    )
    return RecordedEvent(envelope, None, row.data)


def storable(*texts: str) -> str:
    """The first text, all of them having been checked; raises ``Problem`` 400 for a NUL, which no column holds."""
    if any("\0" in text for text in texts):
        raise Problem(400, "unsupported-text", "Text that cannot be kept", "a NUL character")
    return texts[0]


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise Problem(400, "invalid-limit", "Page size", f"from 1 to {MAX_PAGE}")
    return limit


def _key(cursor: str, *types: type) -> list[str | int]:
    try:
        return paging.decode(cursor, *types)
    except paging.MalformedCursor as error:
        raise Problem(400, "malformed-cursor", "The cursor is not one of this API") from error


def _alert_key(cursor: str) -> tuple[datetime, str, str]:
    microseconds, source, signal_id = _key(cursor, int, str, str)
    storable(str(source), str(signal_id))
    try:
        return _EPOCH + timedelta(microseconds=int(microseconds)), str(source), str(signal_id)
    except OverflowError as error:
        raise Problem(400, "malformed-cursor", "The cursor is not one of this API") from error


def _page(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """One row more than the page was asked for: if it is there, so is a next page."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_of(rows[limit - 1])
