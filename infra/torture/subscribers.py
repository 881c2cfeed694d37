"""Subscribers that come back with their cursor after every interruption, and remember what they saw."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from infra.torture.tenants import Tenant

Transport = Literal["sse", "graphql"]
PAUSE_S = 0.2
PATIENCE_S = 40.0
"""Without even a heartbeat for so long the connection is taken for dead; heartbeats come every 15 s."""

_QUERY = """subscription($after: String) {
  timelineEventAdded(after: $after) { cursor reset event { id sequence incidentId data } }
}"""


class Seen(NamedTuple):
    """An event as a subscriber got it; ``digest`` is that of its data."""

    id: str
    incident_id: str
    sequence: int
    tenantsequence: int
    digest: str


def digest(data: object) -> str:
    """Equal for equal JSON values."""
    return hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@dataclass(slots=True)
class Subscriber:
    """One subscriber of a tenant's whole timeline, from its first event on."""

    tenant: str
    token: str
    transport: Transport
    base_url: str
    seen: list[Seen] = field(default_factory=list)
    resets: int = 0
    connections: int = 0
    cursor: str = "0"

    @property
    def last(self) -> int:
        """The tenantsequence of the last event that it saw."""
        return self.seen[-1].tenantsequence if self.seen else 0

    async def follow(self) -> None:
        """Follow for ever."""
        session = self._sse if self.transport == "sse" else self._graphql
        while True:
            with contextlib.suppress(httpx.TransportError, OSError, InvalidHandshake, InvalidMessage, ConnectionClosed):
                self.connections += 1
                await session()
            await asyncio.sleep(PAUSE_S)

    async def _sse(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Last-Event-ID": self.cursor}
        timeout = httpx.Timeout(10, read=PATIENCE_S)
        async with (
            httpx.AsyncClient(base_url=self.base_url, timeout=timeout) as client,
            client.stream("GET", "/api/v1/events/stream", headers=headers) as answer,
        ):
            if not answer.is_success:
                return
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.strip()
                    continue
                self._take_fields(fields)
                fields = {}

    def _take_fields(self, fields: dict[str, str]) -> None:
        """One event of the stream, complete with its empty line; one that was cut off before it does not count."""
        if fields.get("event") == "reset":
            self.resets += 1
        elif "data" in fields:
            one = orjson.loads(fields["data"])
            place = int(one["sequence"]), int(fields["id"])
            self.seen.append(Seen(one["id"], one["subject"], *place, digest(one["data"])))
        self.cursor = fields.get("id", self.cursor)

    async def _graphql(self) -> None:
        address = f"ws{self.base_url.removeprefix('http')}/graphql"
        protocols = ["graphql-transport-ws"]
        async with connect(address, subprotocols=protocols, max_size=2**24, open_timeout=10) as socket:  # type: ignore[arg-type]  # a NewType of str
            payload = {"Authorization": f"Bearer {self.token}"}
            await socket.send(orjson.dumps({"type": "connection_init", "payload": payload}).decode())
            async for text in socket:
                message = orjson.loads(text)
                match message["type"]:
                    case "connection_ack":
                        asked = {"query": _QUERY, "variables": {"after": self.cursor}}
                        request = {"id": "1", "type": "subscribe", "payload": asked}
                        await socket.send(orjson.dumps(request).decode())
                    case "next" if message["payload"].get("data"):
                        self._take_update(message["payload"]["data"]["timelineEventAdded"])
                    case "ping":
                        await socket.send('{"type":"pong"}')
                    case "next" | "error" | "complete":
                        return

    def _take_update(self, update: dict[str, object]) -> None:
        cursor, event = str(update["cursor"]), update["event"]
        if update["reset"]:
            self.resets += 1
        elif isinstance(event, dict):
            place = int(event["sequence"]), int(cursor)
            self.seen.append(Seen(event["id"], event["incidentId"], *place, digest(event["data"])))
        self.cursor = cursor


@contextlib.asynccontextmanager
async def subscribed(tenants: Sequence[Tenant], base_url: str, seed: int) -> AsyncIterator[list[Subscriber]]:
    """Two subscribers of each tenant, one a transport, until the block ends."""
    kinds: tuple[Transport, ...] = ("sse", "graphql")
    subscribers = [Subscriber(tenant.name, tenant.viewer_token, kind, base_url) for tenant in tenants for kind in kinds]
    random.Random(seed).shuffle(subscribers)  # noqa: S311  the order in which they come back
    tasks = [asyncio.create_task(subscriber.follow()) for subscriber in subscribers]
    try:
        yield subscribers
        ended = [task for task in tasks if task.done()]
        for task in ended:
            task.result()  # a subscriber that broke is the harness's defect
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
