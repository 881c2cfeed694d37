"""Subscribers: SSE over a plain socket and GraphQL over a WebSocket, which note when each alert came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.http import request
from infra.torture.tenants import Tenant

Arrivals = dict[str, float]
"""Signal ids to the monotonic time at which a subscriber had them."""

QUERY = "subscription ($after: String) { timelineEventAdded(after: $after) { cursor event { type data } } }"
_CUT_OFF = "slow-subscriber"
_LIMIT = 16 * 2**20


async def sse(port: int, tenant: Tenant, arrivals: Arrivals) -> None:
    """Follow the tenant's events until cancelled; a stream that is cut is resumed, as any client would."""
    last = b""
    while True:
        async for id_, data in events(port, tenant, last):
            last = id_
            document = orjson.loads(data)
            if isinstance(document, dict) and isinstance(document.get("data"), dict):
                note(document["data"], arrivals, time.monotonic())


async def events(port: int, tenant: Tenant, last: bytes = b"") -> AsyncIterator[tuple[bytes, bytes]]:
    """The ``id`` and ``data`` of each event of the tenant's stream behind ``last``, until it ends or is cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
    headers = {"Authorization": f"Bearer {tenant.viewer_token}", "Accept": "text/event-stream"}
    if last:
        headers["Last-Event-ID"] = last.decode()
    writer.write(request("GET", "/api/v1/events/stream", headers))
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        raise ConnectionError(f"the stream answers {head[:60]!r}")
    rest = id_ = b""
    try:
        while (size := await reader.readline()).strip() not in {b"", b"0"}:  # chunked (RFC 9112, section 7.1)
            rest += (await reader.readexactly(int(size, 16) + 2))[:-2]
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if line.startswith(b"id: "):
                    id_ = line[4:]
                elif line.startswith(b"data: "):
                    yield id_, line[6:]
    except asyncio.IncompleteReadError:
        return
    finally:
        writer.close()


async def graphql(port: int, tenant: Tenant, arrivals: Arrivals) -> None:
    """The same over ``graphql-transport-ws``; a subscription that is cut off is resumed behind its last cursor."""
    protocol = Subprotocol("graphql-transport-ws")
    after: str | None = None
    while True:
        async with connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=[protocol], max_size=_LIMIT) as socket:
            after = await _subscribed(socket, tenant, after, arrivals)


async def _subscribed(socket: ClientConnection, tenant: Tenant, after: str | None, arrivals: Arrivals) -> str | None:
    """Follow over one socket until the server cuts the subscription off; the last cursor."""
    token = {"Authorization": f"Bearer {tenant.viewer_token}"}
    await socket.send(orjson.dumps({"type": "connection_init", "payload": token}).decode())
    await socket.recv()
    payload = {"query": QUERY, "variables": {"after": after}}
    await socket.send(orjson.dumps({"id": "1", "type": "subscribe", "payload": payload}).decode())
    async for message in socket:
        document = orjson.loads(message)
        if document["type"] == "ping":
            await socket.send('{"type":"pong"}')
        elif document["type"] == "next" and document["payload"].get("data"):
            update = document["payload"]["data"]["timelineEventAdded"]
            after = update["cursor"]
            if update["event"] is not None:
                note(update["event"]["data"], arrivals, time.monotonic())
        elif _CUT_OFF.encode() in orjson.dumps(document):
            break
        elif document["type"] in {"next", "error"}:
            raise ConnectionError(f"the subscription ended: {document['payload']}")
    return after


def note(data: dict[str, object], arrivals: Arrivals, now: float) -> None:
    """Note the alerts of an event's data, which came ``now`` (monotonic seconds)."""
    alerts = data.get("alerts")
    for alert in alerts if isinstance(alerts, list) else ():
        arrivals.setdefault(alert["id"], now)
