"""A transaction in which one tenant's rows are visible, and no others (R10)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

from psycopg import AsyncClientCursor, sql

from projections.connections import AsyncConnection, AsyncPool
from projections.queries.conditions import storable

_BEGIN = sql.SQL("BEGIN {}; SELECT set_config('incidents.tenant', {}, true)")
_MODES = {True: sql.SQL("READ WRITE"), False: sql.SQL("READ ONLY")}


@asynccontextmanager
async def tenant_session(pool: AsyncPool, tenant_id: str, *, write: bool = False) -> AsyncIterator[AsyncConnection]:
    """A pooled connection in a transaction of the tenant, committed at the end, rolled back when the block raises.

    Beginning takes one round trip. The setting ends with the transaction, so that the connection's next user starts
    without a tenant and sees nothing. Raises ``ValueError`` for an empty tenant, ``psycopg_pool.PoolTimeout`` when no
    connection is to be had and ``psycopg.OperationalError`` when the server is gone.
    """
    if not tenant_id or not storable(tenant_id):
        raise ValueError("a session needs a tenant")
    async with pool.connection() as connection:
        async with AsyncClientCursor(connection) as cursor:
            await cursor.execute(_begin(tenant_id, write=write))
        try:
            yield connection
        except BaseException:
            if not connection.closed:
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")


@lru_cache(maxsize=4096)
def _begin(tenant_id: str, *, write: bool) -> bytes:
    return _BEGIN.format(_MODES[write], tenant_id).as_bytes(None)
