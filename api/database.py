"""The API's sessions with PostgreSQL: bounded in number and time, and honest about a database that is down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg_pool import PoolTimeout

from api.auth import Unavailable
from projections.connections import AsyncConnection, AsyncPool, refuse_powerful_role
from projections.queries.tenant import tenant_session

LOST = (
    psycopg.OperationalError,  # the server is gone, starting, out of connections, or a time limit struck
    psycopg.InterfaceError,  # the connection was closed under the query
    PoolTimeout,
    psycopg.errors.UndefinedTable,  # not migrated, or migrated by another version while this one still runs
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)
"""What is no mistake of ours or of the caller: the same again may work later."""


class Database:
    """Sessions from one pool; each raises ``Unavailable`` when the database does not answer in time."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._is_narrow = False

    @asynccontextmanager
    async def tenant(self, tenant_id: str, *, write: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction in which row-level security shows the rows of one tenant (R10)."""
        try:
            await self._refuse_powerful_role()
            async with tenant_session(self._pool, tenant_id, write=write) as connection:
                yield connection
        except LOST as error:
            raise Unavailable(str(error).strip()) from error

    async def _refuse_powerful_role(self) -> None:
        """Once, before the first session of a tenant: raises ``TooPowerfulRole``, so that nothing is ever answered."""
        if not self._is_narrow:
            async with self._pool.connection() as connection:
                await refuse_powerful_role(connection)
            self._is_narrow = True

    @asynccontextmanager
    async def anybody(self) -> AsyncIterator[AsyncConnection]:
        """A session without a tenant, for what precedes knowing it: row-level security shows no tenant's rows."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except LOST as error:
            raise Unavailable(str(error).strip()) from error
