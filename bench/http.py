"""An HTTP/1.1 client that costs next to nothing: requests are bytes made beforehand, answers a status and a body."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

_END = b"\r\n\r\n"


class Answer(NamedTuple):
    """Status, body, and the seconds that ``Retry-After`` asks for (0: it does not)."""

    status: int
    body: bytes
    retry_after_s: float


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request with keep-alive, as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + _END + body


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time; answers have a Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._head = b""
        self._length = -1
        self._waiting: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to the loopback address."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def send(self, request: bytes) -> Answer:
        """Send a request and wait for its answer; raises ``ConnectionError``."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("closed by the server")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._buffer += data
        if self._length < 0:
            head, end, rest = self._buffer.partition(_END)
            if not end:
                return
            self._head, self._buffer = head.lower(), rest
            self._length = int(self._field(b"content-length") or 0)
        if len(self._buffer) >= self._length and self._waiting is not None and not self._waiting.done():
            body, self._buffer = self._buffer[: self._length], self._buffer[self._length :]
            self._length = -1
            self._waiting.set_result(Answer(int(self._head[9:12]), body, float(self._field(b"retry-after") or 0)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError(str(exc)))

    def _field(self, name: bytes) -> bytes:
        _, found, rest = self._head.partition(b"\r\n" + name + b":")
        return rest.partition(b"\r\n")[0].strip() if found else b""
