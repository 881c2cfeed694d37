"""Tickets in other systems: where they stand, the conflicts of their fields, and how many are not in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from projections.base import instant, milliseconds
from projections.connections import AsyncConnection
from projections.queries import cursors
from projections.queries.conditions import Conditions
from projections.queries.cursors import Cursor
from projections.ticket_rows import CONFLICT_COLUMNS, TICKET_COLUMNS, ConflictRow, TicketRow

ConflictState = Literal["open", "waiting", "ended"]

_TICKETS, _CONFLICTS = "tickets:newest", "ticket-conflicts:newest"
_KEY = (int, str)
_STATES: dict[ConflictState, LiteralString] = {
    "open": "ended = ''",
    "waiting": "ended = '' AND result = 'waiting'",
    "ended": "ended <> ''",
}


def _select(columns: Sequence[str], source: LiteralString) -> sql.Composed:
    """A query over ``source``, so that filters name its columns without the table that they come from."""
    return sql.SQL("SELECT {} FROM (").format(sql.SQL(", ").join(map(sql.Identifier, columns))) + sql.SQL(source)


_SELECT_TICKETS = _select(
    (*TICKET_COLUMNS, "number"),
    """SELECT t.*, coalesce(i.number, 0) AS number
    FROM read.tickets t LEFT JOIN read.incidents i USING (tenant_id, incident_id)) AS listed""",
)
_SELECT_CONFLICTS = _select(
    (*CONFLICT_COLUMNS, "incident_id", "external_key", "number"),
    """SELECT c.*, t.incident_id, t.external_key, coalesce(i.number, 0) AS number
    FROM read.ticket_conflicts c JOIN read.tickets t USING (tenant_id, ticket_id)
    LEFT JOIN read.incidents i USING (tenant_id, incident_id)) AS listed""",
)
_SUMMARY = """
SELECT coalesce(sum(open_conflicts), 0)::bigint AS open_conflicts,
       coalesce(sum(waiting_conflicts), 0)::bigint AS waiting_conflicts,
       coalesce(sum(drifted_fields), 0)::bigint AS drifted_fields,
       count(*) FILTER (WHERE open_conflicts > 0 OR drifted_fields > 0) AS tickets_apart,
       count(*) FILTER (WHERE state = 'failed') AS tickets_failed,
       count(*) FILTER (WHERE state = 'gone') AS tickets_gone
FROM read.tickets WHERE open_conflicts > 0 OR drifted_fields > 0 OR state IN ('failed', 'gone')
"""
"""Only what is not as it should be is read: the condition is that of a partial index."""


@dataclass(frozen=True, slots=True)
class TicketFilter:
    """Which tickets; empty fields do not restrict. ``apart``: open conflicts or drifted fields (or neither)."""

    incident_id: str = ""
    integration_id: str = ""
    connector: str = ""
    state: tuple[str, ...] = ()
    in_step: bool | None = None
    apart: bool | None = None

    def conditions(self) -> Conditions:
        """The filter as SQL."""
        found = Conditions()
        found.equal(incident_id=self.incident_id, integration_id=self.integration_id, connector=self.connector)
        found.one_of(state=self.state)
        if self.in_step is not None:
            found.add("in_step = %s", self.in_step)
        if self.apart is not None:
            found.add("(open_conflicts > 0 OR drifted_fields > 0) = %s", self.apart)
        return found


@dataclass(frozen=True, slots=True)
class ConflictFilter:
    """Which conflicts; empty fields do not restrict. ``incident_id`` is the incident that the ticket shows now."""

    incident_id: str = ""
    integration_id: str = ""
    ticket_id: str = ""
    field: str = ""
    policy: str = ""
    state: ConflictState | None = None

    def conditions(self) -> Conditions:
        """The filter as SQL."""
        found = Conditions()
        found.equal(
            incident_id=self.incident_id,
            integration_id=self.integration_id,
            ticket_id=self.ticket_id,
            field=self.field,
            policy=self.policy,
        )
        if self.state is not None:
            found.add(_STATES[self.state])
        return found


@dataclass(frozen=True, slots=True)
class Ticket(TicketRow):
    """A ticket with its incident's human number (0: the incident is not there)."""

    number: int


@dataclass(frozen=True, slots=True)
class Conflict(ConflictRow):
    """A conflict with what it is about: the incident, its human number, and the ticket's number or key."""

    incident_id: str
    external_key: str
    number: int


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """How many of a tenant's conflicts are open (and wait for a decision), fields drifted, and tickets not in step."""

    open_conflicts: int
    waiting_conflicts: int
    drifted_fields: int
    tickets_apart: int
    tickets_failed: int
    tickets_gone: int


def parse_ticket_cursor(text: str) -> Cursor:
    """The cursor of a request for ``list_tickets``; raises ``BadCursor``."""
    return cursors.decode(text, _TICKETS, _KEY)


def ticket_cursor_after(row: TicketRow) -> Cursor:
    """Where the page after this ticket begins."""
    return Cursor(_TICKETS, (milliseconds(row.since), row.ticket_id))


def parse_conflict_cursor(text: str) -> Cursor:
    """The cursor of a request for ``list_conflicts``; raises ``BadCursor``."""
    return cursors.decode(text, _CONFLICTS, _KEY)


def conflict_cursor_after(row: ConflictRow) -> Cursor:
    """Where the page after this conflict begins."""
    return Cursor(_CONFLICTS, (milliseconds(row.since), row.conflict_id))


async def list_tickets(
    connection: AsyncConnection, wanted: TicketFilter, after: Cursor | None = None, limit: int = 50
) -> Sequence[Ticket]:
    """At most ``limit`` tickets behind ``after``, those that were linked last first; raises ``BadCursor``."""
    async with connection.cursor(row_factory=class_row(Ticket)) as cursor:
        await cursor.execute(*_newest(_SELECT_TICKETS, wanted.conditions(), "ticket_id", _TICKETS, after, limit))
        return await cursor.fetchall()


async def list_conflicts(
    connection: AsyncConnection, wanted: ConflictFilter, after: Cursor | None = None, limit: int = 50
) -> Sequence[Conflict]:
    """At most ``limit`` conflicts behind ``after``, the newest first; raises ``BadCursor``."""
    async with connection.cursor(row_factory=class_row(Conflict)) as cursor:
        await cursor.execute(*_newest(_SELECT_CONFLICTS, wanted.conditions(), "conflict_id", _CONFLICTS, after, limit))
        return await cursor.fetchall()


def _newest(
    select: sql.Composed, conditions: Conditions, id_: LiteralString, listing: str, after: Cursor | None, limit: int
) -> tuple[sql.Composed, list[Any]]:
    """A page of a listing by ``since`` and an id, the newest first: the query and its values."""
    if after is not None:
        at, last = cursors.decode(after.encode(), listing, _KEY).key
        assert isinstance(at, int), "decode checked the types"
        conditions.add("(since, " + id_ + ") < (%s, %s)", instant(at), last)
    tail = sql.SQL(" ORDER BY since DESC, " + id_ + " DESC LIMIT %s")
    return select + conditions.where() + tail, [*conditions.values, limit]


async def summary(connection: AsyncConnection) -> SyncSummary:
    """The tenant's numbers for a dashboard."""
    async with connection.cursor(row_factory=class_row(SyncSummary)) as cursor:
        await cursor.execute(_SUMMARY)
        found = await cursor.fetchone()
    assert found is not None, "an aggregate gives a row"
    return found
