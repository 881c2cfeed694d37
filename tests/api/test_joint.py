"""Fields that read at the same moment share a session: one transaction, one connection, no one else's rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.websockets import WebSocket

from api.auth import Unavailable
from api.database import Database
from api.graphql.context import Context
from api.joint import JointSessions
from projections.connections import AsyncConnection, AsyncPool, pool
from streams.runtime.settings import DatabaseSettings

pytestmark = pytest.mark.stack
READERS = 5
_WHERE = b"SELECT current_setting('incidents.tenant'), pg_backend_pid(), now()::text"


@pytest.fixture
async def connections(database_url: str) -> AsyncIterator[AsyncPool]:
    async with pool(DatabaseSettings(url=SecretStr(database_url)), "api", name="test-joint", max_size=2) as opened:
        await opened.resize(2)  # all of them are there from the beginning, so that one that is missing is in use
        await opened.wait()
        yield opened


async def unused(*_: object) -> Any:
    raise AssertionError("nothing is sent or received")


async def where(connection: AsyncConnection) -> tuple[object, ...]:
    """The tenant, the connection, and when the transaction began."""
    row = await (await connection.execute(_WHERE)).fetchone()
    assert row is not None
    return row


async def test_readers_of_a_tenant_share_a_transaction_and_others_do_not(connections: AsyncPool) -> None:
    sessions = JointSessions(Database(connections))
    together = asyncio.Barrier(2 * READERS)

    async def read(tenant: str) -> tuple[object, ...]:
        async with sessions.tenant(tenant) as connection:
            await together.wait()
            return await where(connection)

    names = ["acme", "frost"] * READERS
    found = await asyncio.gather(*map(read, names))
    acme, frost = ({place for place in found if place[0] == name} for name in ("acme", "frost"))
    assert len(acme) == len(frost) == 1
    async with sessions.tenant("acme") as connection:
        assert await where(connection) not in acme, "the first transaction has ended"
    assert connections.get_stats()["pool_available"] == connections.get_stats()["pool_size"]


async def test_a_statement_that_fails_is_a_database_that_does_not_answer(connections: AsyncPool) -> None:
    sessions = JointSessions(Database(connections))
    failed = asyncio.Event()

    async def fail() -> None:
        async with sessions.tenant("acme") as connection:
            try:
                await connection.execute(b"SELECT 1 / 0")
            finally:
                failed.set()

    async def read() -> tuple[object, ...]:
        async with sessions.tenant("acme") as connection:
            await failed.wait()
            return await where(connection)

    first, second = await asyncio.gather(fail(), read(), return_exceptions=True)
    assert isinstance(first, psycopg.errors.DivisionByZero), "a mistake of ours stays one"
    assert isinstance(second, Unavailable)
    async with sessions.tenant("acme") as connection:
        assert (await where(connection))[0] == "acme"


async def test_whoever_opened_the_session_may_leave_before_it_is_open(connections: AsyncPool) -> None:
    sessions = JointSessions(Database(connections))

    async def read() -> tuple[object, ...]:
        async with sessions.tenant("acme") as connection:
            return await where(connection)

    first, second = asyncio.create_task(read()), asyncio.create_task(read())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second)[0] == "acme"
    assert first.cancelled()
    assert connections.get_stats()["pool_available"] == connections.get_stats()["pool_size"]


def test_operations_of_a_socket_do_not_share_a_session() -> None:
    api = SimpleNamespace(database=object(), reads=object())
    scope = {"app": SimpleNamespace(state=SimpleNamespace(api=api)), "headers": []}
    context = Context()
    context.request = WebSocket({**scope, "type": "websocket"}, receive=unused, send=unused)
    assert context.reads is api.reads
    context = Context()
    context.request = Request({**scope, "type": "http"})
    assert context.reads is not api.reads
    assert context.reads is context.reads


async def test_all_hear_that_the_database_is_away(connections: AsyncPool) -> None:
    await connections.close()
    sessions = JointSessions(Database(connections))

    async def read() -> None:
        async with sessions.tenant("acme"):
            raise AssertionError("there is no session")

    found = await asyncio.gather(*(read() for _ in range(READERS)), return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * READERS
