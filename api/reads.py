"""What the API reads: the queries of the read models, with cursors as text and events as clients see them.

Every method raises ``Unavailable`` while the database does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from api.database import Database
from api.joint import JointSessions
from api.live.events import RecordedEvent
from api.live.follow import Selection
from api.problems import Problem
from projections.attachment_rows import FileRow, LinkRow
from projections.base import bounded
from projections.queries import alerts as alert_queries
from projections.queries import as_of as as_of_queries
from projections.queries import attachments as attachment_queries
from projections.queries import board as board_queries
from projections.queries import incidents as incident_queries
from projections.queries import tickets as ticket_queries
from projections.queries import timeline as timeline_queries
from projections.queries.alerts import AlertFilter, AlertRow, IncidentAlertRow
from projections.queries.board import Board
from projections.queries.cursors import BadCursor, Cursor
from projections.queries.incidents import IncidentFilter, IncidentRow, Sort
from projections.queries.tickets import Conflict, ConflictFilter, SyncSummary, Ticket, TicketFilter
from projections.queries.timeline import TimelineRow
from projections.registry import READ_MODELS
from streams.domain.envelope import Envelope

T = TypeVar("T")
Page = tuple[Sequence[T], str | None]
"""Rows, and the cursor of the next page where there is one."""

MAX_PAGE = 500
_LONGEST_NUMBER = 18
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHECKPOINTS = """
SELECT c.partition, min(c.next_offset) FROM ops.projection_checkpoints c
JOIN ops.projection_active a USING (projection, generation)
WHERE c.topic = 'incident-events' AND c.projection = ANY(%s)
GROUP BY c.partition HAVING count(*) = %s
"""
_SERVING = list(READ_MODELS)
"""The projections that answers are read from; an event is shown once all of them have passed it."""


class Reads:
    """Reads of one tenant at a time, each in a session as ``database`` gives it."""

    def __init__(self, database: Database | JointSessions) -> None:
        self._database = database

    async def checkpoints(self) -> Mapping[int, int]:
        """Each partition's next offset of ``incident-events`` that all serving projections have passed."""
        async with self._database.anybody() as connection:
            cursor = await connection.execute(_CHECKPOINTS, [_SERVING, len(_SERVING)])
            return {int(partition): int(offset) for partition, offset in await cursor.fetchall()}

    async def incident(self, tenant_id: str, reference: str, as_of: datetime | None = None) -> IncidentRow | None:
        """The incident of an id or number, now or as it was; None when it was not there yet."""
        async with self._database.tenant(tenant_id) as connection:
            if as_of is not None:
                return await as_of_queries.get_incident_as_of(connection, reference, as_of)
            return await incident_queries.get_incident(connection, reference)

    async def incidents_by_id(self, tenant_id: str, ids: Sequence[str]) -> Sequence[IncidentRow]:
        """The incidents with these ids, as they are at one moment; unknown ones are left out."""
        async with self._database.tenant(tenant_id) as connection:
            rows = [await incident_queries.get_incident(connection, id_) for id_ in ids]
        return [row for row in rows if row is not None]

    async def incidents(
        self, tenant_id: str, wanted: IncidentFilter, *, sort: Sort = "newest", after: str | None, limit: int
    ) -> Page[IncidentRow]:
        """A page of incidents and the cursor of the next one."""
        behind = _parsed(incident_queries.parse_cursor, after, sort)
        async with self._database.tenant(tenant_id) as connection:
            rows = await incident_queries.list_incidents(connection, wanted, behind, _limit(limit) + 1, sort)
        return _page(rows, limit, lambda row: incident_queries.cursor_after(row, sort).encode())

    async def incidents_as_of(
        self,
        tenant_id: str,
        wanted: IncidentFilter,
        at: datetime,
        *,
        sort: Sort = "newest",
        after: str | None,
        limit: int,
    ) -> Page[IncidentRow]:
        """A page of incidents as they were, by number; it may be short though another follows."""
        if sort == "severity":
            raise Problem(400, "invalid-sort", "As of a time", "incidents are in the order of newest or oldest")
        behind = _parsed(incident_queries.parse_cursor, after, sort)
        async with self._database.tenant(tenant_id) as connection:
            found = await as_of_queries.list_incidents_as_of(connection, wanted, at, behind, _limit(limit), sort)
        return found.rows, Cursor(f"incidents:{sort}", (found.go_on,)).encode() if found.go_on else None

    async def timeline(
        self,
        tenant_id: str,
        incident_id: str,
        *,
        types: Sequence[str] = (),
        after: str | None,
        limit: int,
        as_of: datetime | None = None,
    ) -> Page[RecordedEvent]:
        """A page of an incident's events (recorded by ``as_of``), oldest first; the cursor is the last sequence."""
        behind = sequence_of(after) or 0
        async with self._database.tenant(tenant_id) as connection:
            rows = await timeline_queries.timeline(
                connection, incident_id, behind, _limit(limit) + 1, tuple(types), as_of
            )
        page, cursor = _page(rows, limit, lambda row: str(row.sequence))
        return [event_of(row) for row in page], cursor

    async def alerts(self, tenant_id: str, wanted: AlertFilter, *, after: str | None, limit: int) -> Page[AlertRow]:
        """A page of signals, newest first."""
        behind = _parsed(alert_queries.parse_cursor, after)
        async with self._database.tenant(tenant_id) as connection:
            rows = await alert_queries.list_alerts(connection, wanted, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: alert_queries.cursor_after(row).encode())

    async def alert_states(
        self, tenant_id: str, incident_id: str, *, after: str | None, limit: int
    ) -> Page[IncidentAlertRow]:
        """A page of an incident's alerts, each with its present state."""
        behind = _parsed(alert_queries.parse_state_cursor, after)
        async with self._database.tenant(tenant_id) as connection:
            rows = await alert_queries.incident_alerts(connection, incident_id, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: alert_queries.state_cursor_after(row).encode())

    async def alerts_by_id(
        self, tenant_id: str, wanted: Sequence[tuple[str, str]]
    ) -> Mapping[tuple[str, str], AlertRow]:
        """What became of the signals with these sources and ids; unknown ones are left out."""
        by_source: dict[str, list[str]] = {}
        for source, id_ in wanted:
            by_source.setdefault(source, []).append(id_)
        found: dict[tuple[str, str], AlertRow] = {}
        async with self._database.tenant(tenant_id) as connection:
            for source, ids in by_source.items():
                chosen = AlertFilter(source=source, ids=tuple(ids))
                for row in await alert_queries.list_alerts(connection, chosen, limit=len(ids)):
                    found[row.source, row.signal_id] = row
        rows = {key: found.get((bounded(key[0]), bounded(key[1]))) for key in wanted}
        return {key: row for key, row in rows.items() if row is not None}

    async def board(self, tenant_id: str) -> Board:
        """The incidents by status, the worst first, and how their tickets stand."""
        async with self._database.tenant(tenant_id) as connection:
            return await board_queries.board(connection)

    async def tickets(self, tenant_id: str, wanted: TicketFilter, *, after: str | None, limit: int) -> Page[Ticket]:
        """A page of tickets, those that were linked last first."""
        behind = _parsed(ticket_queries.parse_ticket_cursor, after)
        async with self._database.tenant(tenant_id) as connection:
            rows = await ticket_queries.list_tickets(connection, wanted, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: ticket_queries.ticket_cursor_after(row).encode())

    async def conflicts(
        self, tenant_id: str, wanted: ConflictFilter, *, after: str | None, limit: int
    ) -> Page[Conflict]:
        """A page of conflicts, the newest first."""
        behind = _parsed(ticket_queries.parse_conflict_cursor, after)
        async with self._database.tenant(tenant_id) as connection:
            rows = await ticket_queries.list_conflicts(connection, wanted, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: ticket_queries.conflict_cursor_after(row).encode())

    async def files(self, tenant_id: str, incident_id: str, *, after: str | None, limit: int) -> Page[FileRow]:
        """A page of an incident's files, the newest first."""
        behind = _parsed(attachment_queries.parse_file_cursor, after)
        async with self._database.tenant(tenant_id) as connection:
            rows = await attachment_queries.list_files(connection, incident_id, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: attachment_queries.file_cursor_after(row).encode())

    async def file(self, tenant_id: str, attachment_id: str) -> FileRow | None:
        """A file, also one that was removed."""
        async with self._database.tenant(tenant_id) as connection:
            return await attachment_queries.get_file(connection, attachment_id)

    async def links(self, tenant_id: str, incident_id: str, *, after: str | None, limit: int) -> Page[LinkRow]:
        """A page of an incident's links, the newest first."""
        behind = _parsed(attachment_queries.parse_link_cursor, after)
        async with self._database.tenant(tenant_id) as connection:
            rows = await attachment_queries.list_links(connection, incident_id, behind, _limit(limit) + 1)
        return _page(rows, limit, lambda row: attachment_queries.link_cursor_after(row).encode())

    async def link(self, tenant_id: str, incident_id: str, url: str) -> LinkRow | None:
        """The incident's link to an address."""
        async with self._database.tenant(tenant_id) as connection:
            return await attachment_queries.find_link(connection, incident_id, url)

    async def sync_summary(self, tenant_id: str) -> SyncSummary:
        """How many conflicts are open and tickets not in step."""
        async with self._database.tenant(tenant_id) as connection:
            return await ticket_queries.summary(connection)

    async def last(self, tenant_id: str) -> int:
        """The tenant's last stored ``tenantsequence``."""
        async with self._database.tenant(tenant_id) as connection:
            return await timeline_queries.last_tenantsequence(connection)

    async def after(self, selection: Selection, after: int, until: int, limit: int) -> Sequence[RecordedEvent]:
        """Selected events with ``after < tenantsequence <= until``, ascending, at most ``limit``."""
        async with self._database.tenant(selection.tenant_id) as connection:
            rows = await timeline_queries.tenant_events(
                connection, after, until, limit, tuple(selection.types), selection.incident_id
            )
        return [event_of(row) for row in rows]


def event_of(row: TimelineRow) -> RecordedEvent:
    """A stored event as the live path shows it."""
    envelope = Envelope(
        id=row.event_id,
        source="",
        type=row.type,
        tenantid=row.tenant_id,
        subject=row.incident_id,
        correlationid=row.correlation_id,
        causationid=row.causation_id,
        sequence=row.sequence,
        tenantsequence=row.tenantsequence,
        recordedtime=(row.recorded_at - _EPOCH) // timedelta(milliseconds=1),
    )
    return RecordedEvent(envelope, None, row.data)


def sequence_of(cursor: str | None) -> int | None:
    """The number that a cursor of events is; raises ``Problem`` 400 for anything else."""
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST_NUMBER):
        raise malformed_cursor()
    return int(cursor)


def malformed_cursor() -> Problem:
    """The answer to a cursor that no answer of this API contained."""
    return Problem(400, "malformed-cursor", "The cursor is not one of this listing")


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise Problem(400, "invalid-limit", "Page size", f"from 1 to {MAX_PAGE}")
    return limit


def _parsed(parse: Callable[..., Cursor], text: str | None, *order: str) -> Cursor | None:
    try:
        return parse(text, *order) if text else None
    except BadCursor as error:
        raise malformed_cursor() from error


def _page(rows: Sequence[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """One row more than the page was asked for: if it is there, so is a next page."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_of(rows[limit - 1])
