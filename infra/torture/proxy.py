"""A TCP proxy that can be cut, delayed, slowed down or silenced: a bad network without touching either end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

_CHUNK = 65_536
_TICK_S = 0.05
_CALL_S = 10.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the way is: seconds before each chunk, bytes a second (0: no limit), and what is held back.

    ``held`` silences without closing anything, as a network does that loses packets: ``answers`` lets requests through,
    so that a server does its work and its client never hears of it.
    """

    delay_s: float = 0.0
    bytes_per_s: int = 0
    held: Literal["nothing", "answers", "everything"] = "nothing"


GOOD = Conditions()


class Proxy:
    """Forwards a local port to a server; everything is called on one event loop, ``conditions`` may be set anywhere.

    ``port`` 0 takes a free one at the first ``open`` and keeps it.
    """

    def __init__(self, host: str, port: int, listen_port: int = 0) -> None:
        self._target = host, port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.conditions = GOOD
        self.port = listen_port

    async def open(self) -> None:
        """Take connections (again); raises ``OSError`` when the port is taken."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse new connections; those that there are go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def reset(self) -> None:
        """Break the connections that there are; new ones are taken unless refused."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cut(self) -> None:
        """Refuse new connections and break those that there are."""
        await self.refuse()
        await self.reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        back: asyncio.StreamWriter | None = None
        try:
            there, back = await asyncio.open_connection(*self._target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._copy(reader, back, answers=False))
                both.create_task(self._copy(there, writer, answers=True))
        except* OSError:
            pass  # one end is gone; the other is told below
        except* asyncio.CancelledError:
            pass  # reset: this task is nobody else's
        finally:
            self._connections.discard(task)
            for end in (writer, back):
                if end is not None:
                    end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        while chunk := await reader.read(_CHUNK):
            while self._holds(answers=answers):  # noqa: ASYNC110  conditions may be set by any thread
                await asyncio.sleep(_TICK_S)
            await asyncio.sleep(self.conditions.delay_s)
            await self._write(writer, chunk)
        with suppress(OSError):
            writer.write_eof()

    def _holds(self, *, answers: bool) -> bool:
        held = self.conditions.held
        return held == "everything" or (answers and held == "answers")

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        while chunk:
            rate = self.conditions.bytes_per_s
            piece = max(1, int(rate * _TICK_S)) if rate else len(chunk)
            if rate:
                await asyncio.sleep(_TICK_S)
            writer.write(chunk[:piece])
            await writer.drain()
            chunk = chunk[piece:]


class ThreadedProxy:
    """The same, on an event loop and a thread of its own, for callers that have none."""

    def __init__(self, host: str, port: int, listen_port: int = 0) -> None:
        self._proxy = Proxy(host, port, listen_port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._proxy.port

    def set(self, conditions: Conditions) -> None:
        """Change how the way is, from the next chunk on."""
        self._proxy.conditions = conditions

    def mend(self) -> None:
        """Take connections (again), on a good way."""
        self._proxy.conditions = GOOD
        self._call(self._proxy.open())

    def cut(self) -> None:
        """Refuse new connections and break those that there are."""
        self._call(self._proxy.cut())

    def refuse(self) -> None:
        """Refuse new connections; those that there are go on."""
        self._call(self._proxy.refuse())

    def reset(self) -> None:
        """Break the connections that there are."""
        self._call(self._proxy.reset())

    def close(self) -> None:
        """Cut, and end the thread."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_S)


@contextmanager
def proxied(host: str, port: int, listen_port: int = 0) -> Iterator[ThreadedProxy]:
    """An open proxy to the server, closed at the end."""
    proxy = ThreadedProxy(host, port, listen_port)
    try:
        proxy.mend()
        yield proxy
    finally:
        proxy.close()
