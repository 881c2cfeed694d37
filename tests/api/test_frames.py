"""Several WebSocket messages in one write: to a real client of a real server they are what they would be alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close

from api.frames import EXTENSION, FramesProtocol, send_texts
from tests.api.conftest import free_port, wait_until

HEAD = '{"für":'.encode()
LENGTHS = (0, 1, 117, 118, 119, 65_527, 65_528, 70_000)
"""With the head they lie around the two limits of a frame's length (RFC 6455, section 5.2)."""


class Sender:
    """An application that sends what it is given to whoever connects, and says how that ended."""

    def __init__(self, bursts: list[list[bytes]]) -> None:
        self.bursts = bursts
        self.offered = False
        self.sent = 0
        self.left = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        self.offered = EXTENSION in scope["extensions"]
        await socket.receive_text()
        try:
            for burst in self.bursts:
                await send_texts(socket, HEAD, burst)
                self.sent += 1
        except WebSocketDisconnect:
            self.left.set()
            return
        await socket.close(4400, "over")


@contextmanager
def serving(app: Sender, protocol: type[asyncio.Protocol] | str) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, ws=protocol, ws_per_message_deflate=False, lifespan="off", log_config=None)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the server answers")
    try:
        yield f"ws://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


@asynccontextmanager
async def following(address: str) -> AsyncIterator[ClientConnection]:
    async with connect(address, max_size=None, compression=None) as client:
        await client.send("begin")
        yield client


async def received(client: ClientConnection) -> list[str]:
    """All messages until the server closes, which it must do with its reason."""
    found: list[str] = []
    end: Close | None = None
    try:
        while True:
            message = await client.recv()
            assert isinstance(message, str)
            found.append(message)
    except ConnectionClosed as closed:
        end = closed.rcvd
    assert end == Close(4400, "over")
    return found


@pytest.mark.parametrize(("protocol", "offered"), [(FramesProtocol, True), ("websockets-sansio", False)])
async def test_messages_of_all_lengths_arrive_in_order(
    *, protocol: type[asyncio.Protocol] | str, offered: bool
) -> None:
    tails = ["x" * (length - 1) + "é" if length else "" for length in LENGTHS]
    app = Sender([[tail.encode() for tail in tails], [b"last"], []])
    with serving(app, protocol) as address:
        async with following(address) as client:
            assert await received(client) == [HEAD.decode() + tail for tail in [*tails, "last"]]
    assert app.offered is offered


async def test_a_client_that_reads_late_holds_its_sender_up_and_gets_everything() -> None:
    large = b"x" * 2**20
    app = Sender([[b"%d" % number, large] for number in range(40)])
    with serving(app, FramesProtocol) as address:
        async with following(address) as client:
            client.transport.pause_reading()
            await asyncio.to_thread(wait_until, lambda: app.sent > 0, "something is sent")
            await asyncio.sleep(0.3)
            assert app.sent < 40, "the sender waits for the client"
            client.transport.resume_reading()
            found = await received(client)
    assert found[::2] == [HEAD.decode() + str(number) for number in range(40)]
    assert {len(one) for one in found[1::2]} == {len(HEAD.decode()) + len(large)}


@pytest.mark.parametrize("in_order", [True, False], ids=["closing", "gone"])
async def test_who_sends_to_a_client_that_has_left_is_told(*, in_order: bool) -> None:
    app = Sender([[b"x" * 2**20]] * 1_000)
    with serving(app, FramesProtocol) as address:
        async with following(address) as client:
            await client.recv()
            if not in_order:
                client.transport.abort()
        await asyncio.to_thread(wait_until, app.left.is_set, "the sender is told")
