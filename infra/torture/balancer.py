"""A load balancer of connections, as small as one can be: new ones go to the servers that are in, in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

_CHUNK = 65_536


class Balancer:
    """Forwards connections to ports on this machine; ``out`` are those that get no new ones."""

    def __init__(self, *ports: int) -> None:
        self._ports = ports
        self._turn = 0
        self._serving: set[asyncio.Task[None] | None] = set()
        self.out: set[int] = set()
        self.port = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take connections on a free port until the block ends."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield
            await asyncio.gather(*filter(None, self._serving))

    def _next(self) -> int:
        ports = [port for port in self._ports if port not in self.out]
        self._turn += 1
        return ports[self._turn % len(ports)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(task := asyncio.current_task())
        with contextlib.suppress(OSError):
            async with _closing(writer):
                there, back = await asyncio.open_connection("127.0.0.1", self._next())
                async with _closing(back):
                    await asyncio.gather(_copy(reader, back), _copy(there, writer), return_exceptions=True)
        self._serving.discard(task)


@contextlib.asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    with contextlib.closing(writer):
        yield
    await writer.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
