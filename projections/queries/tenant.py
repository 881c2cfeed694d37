"""Sessions in which row-level security shows the rows of one tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from projections.connections import AsyncConnection, AsyncPool


@asynccontextmanager
async def tenant_session(pool: AsyncPool, tenant_id: str) -> AsyncIterator[AsyncConnection]:
    """A transaction with the tenant set for its length only."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute("SELECT set_config('incidents.tenant', %s, true)", [tenant_id])
        yield connection
