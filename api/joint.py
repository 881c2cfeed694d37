"""One session for all who read for the same tenant at the same moment, as the fields of a GraphQL document do.

A page of incidents asks for a timeline of each: together they take one transaction and one connection of the pool,
instead of one each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import psycopg

from api.auth import Unavailable
from api.database import LOST, Database
from projections.connections import AsyncConnection


class JointSessions:
    """Sessions as ``Database`` gives them for reading, of one request."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[str, _Joint] = {}

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        """The session that is open for the tenant, else a new one; whoever leaves it last closes it.

        Raises ``Unavailable`` as ``Database`` does, and when another's statement has failed the transaction.
        """
        joint = self._open.get(tenant_id)
        if joint is None:
            joint = self._open[tenant_id] = _Joint(self._database.tenant(tenant_id))
        joint.users += 1
        try:
            yield await joint.connection()
        except (*LOST, psycopg.errors.InFailedSqlTransaction) as error:
            raise Unavailable(str(error).strip()) from error
        finally:
            joint.users -= 1
            if not joint.users:
                del self._open[tenant_id]
                await joint.close()

    def anybody(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As ``Database`` does: a session without a tenant is nobody else's."""
        return self._database.anybody()


class _Joint:
    """A session, opened by a task of its own: whoever came first may be cancelled while others wait for it."""

    def __init__(self, session: AbstractAsyncContextManager[AsyncConnection]) -> None:
        self._session = session
        self._opening = asyncio.ensure_future(session.__aenter__())
        self.users = 0

    async def connection(self) -> AsyncConnection:
        """The session's connection; raises what opening it did."""
        return await asyncio.shield(self._opening)

    async def close(self) -> None:
        """Commit and give the connection back, if there is one."""
        with suppress(Unavailable):
            await self._opening
            await self._session.__aexit__(None, None, None)
