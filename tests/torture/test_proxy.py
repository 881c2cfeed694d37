"""The proxy: each of its faults is seen by a client, and none of them without being asked for."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import pytest

from infra.torture.proxy import Conditions, Proxy, proxied


@dataclass
class Echo:
    """A server that sends back what it gets, and remembers it."""

    port: int = 0
    heard: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while chunk := await reader.read(65_536):
                self.heard += chunk
                writer.write(chunk)


@asynccontextmanager
async def between() -> AsyncIterator[tuple[Proxy, Echo]]:
    """An echo server and an open proxy to it."""
    echo = Echo()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        echo.port = server.sockets[0].getsockname()[1]
        proxy = Proxy("127.0.0.1", echo.port)
        await proxy.open()
        yield proxy, echo
        await proxy.cut()


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_bytes_pass_unchanged_in_both_directions() -> None:
    async with between() as (proxy, _):
        reader, writer = await connect(proxy)
        sent = bytes(range(256)) * 4000
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent
        writer.close()


async def test_a_cut_breaks_what_is_open_and_refuses_what_comes_until_it_is_opened_again() -> None:
    async with between() as (proxy, _):
        reader, writer = await connect(proxy)
        writer.write(b"x")
        await reader.readexactly(1)
        port = proxy.port
        await proxy.cut()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        await proxy.open()
        assert proxy.port == port
        reader, writer = await connect(proxy)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.close()


async def test_refusing_leaves_what_is_open() -> None:
    async with between() as (proxy, _):
        reader, writer = await connect(proxy)
        writer.write(b"x")
        await reader.readexactly(1)
        await proxy.refuse()
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)
        writer.close()


async def test_held_answers_are_work_that_nobody_hears_of() -> None:
    async with between() as (proxy, echo):
        reader, writer = await connect(proxy)
        proxy.conditions = Conditions(held="answers")
        writer.write(b"work")
        async with asyncio.timeout(10):
            while bytes(echo.heard) != b"work":  # noqa: ASYNC110  the echo has no event for it
                await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        proxy.conditions = Conditions()
        assert await reader.readexactly(4) == b"work"
        writer.close()


async def test_held_everything_reaches_nobody() -> None:
    async with between() as (proxy, echo):
        reader, writer = await connect(proxy)
        writer.write(b"a")
        await reader.readexactly(1)
        proxy.conditions = Conditions(held="everything")
        writer.write(b"b")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        assert bytes(echo.heard) == b"a"
        writer.close()


@pytest.mark.parametrize("conditions", [Conditions(delay_s=0.1), Conditions(bytes_per_s=1000)])
async def test_a_slow_way_takes_its_time_and_changes_nothing(conditions: Conditions) -> None:
    async with between() as (proxy, _):
        proxy.conditions = conditions
        reader, writer = await connect(proxy)
        began = time.monotonic()
        writer.write(b"z" * 200)
        assert await reader.readexactly(200) == b"z" * 200
        assert time.monotonic() - began >= 0.2
        writer.close()


def ended(client: socket.socket) -> bool:
    """Whether the other end closes without having sent anything."""
    with suppress(ConnectionResetError):
        return client.recv(1) == b""
    return True


def test_a_threaded_proxy_to_nobody_closes_what_connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with proxied("127.0.0.1", port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.settimeout(5)
        assert ended(client)
