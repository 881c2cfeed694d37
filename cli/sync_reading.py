"""What ``incidents sync`` reads: tickets and conflicts of a tenant, from the read models and as that tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from projections.queries.tickets import SyncSummary, Ticket, TicketFilter

if TYPE_CHECKING:
    from projections.connections import AsyncConnection

T = TypeVar("T")
_PAGE = 500


def incident_id(tenant: str, reference: str) -> str:
    """The id of an incident by id or number; raises ``CommandError``."""
    return _read(tenant, lambda connection: _incident_id(connection, reference))


def tickets(tenant: str, reference: str = "", *, wanted: TicketFilter | None = None) -> Sequence[Ticket]:
    """The tickets (of one incident) that match, those that were linked last first; raises ``CommandError``."""

    async def read(connection: AsyncConnection) -> Sequence[Ticket]:
        from projections.queries.tickets import list_tickets, ticket_cursor_after

        of = await _incident_id(connection, reference) if reference else ""
        chosen = replace(wanted or TicketFilter(), incident_id=of)
        found: list[Ticket] = []
        while True:
            rows = await list_tickets(connection, chosen, ticket_cursor_after(found[-1]) if found else None, _PAGE)
            found += rows
            if len(rows) < _PAGE:
                return found

    return _read(tenant, read)


def summary(tenant: str) -> SyncSummary:
    """How many conflicts are open and tickets not in step; raises ``CommandError``."""
    from projections.queries.tickets import summary as summed_up

    return _read(tenant, summed_up)


async def _incident_id(connection: AsyncConnection, reference: str) -> str:
    from projections.queries.incidents import get_incident

    row = await get_incident(connection, reference)
    if row is None:
        raise CommandError(f"no incident {reference}", ExitCode.NOT_FOUND)
    return row.incident_id


def _read(tenant: str, action: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    import psycopg

    from infra.local.environment import apply

    apply()
    try:
        return asyncio.run(_in_session(tenant, action))
    except psycopg.errors.UndefinedTable as error:
        raise CommandError("the database has no such tables yet (incidents migrate)", ExitCode.NOT_RUNNING) from error
    except psycopg.OperationalError as error:
        raise CommandError(f"PostgreSQL does not answer: {error}", ExitCode.NOT_RUNNING) from error


async def _in_session(tenant: str, action: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    from projections.connections import pool
    from projections.queries.tenant import tenant_session
    from streams.runtime.settings import DatabaseSettings

    async with (
        pool(DatabaseSettings(), "api", name="sync", max_size=1) as opened,
        tenant_session(opened, tenant) as session,
    ):
        return await action(session)
