"""How far the serving projections are: told by PostgreSQL's notifications, read where they do not say enough.

A notification that covers all serving projections is the answer, so that the usual event waits for no query. After
anything else (a lost connection, a swap of generations, a projector that left a read model behind) the positions are
read; they are also polled, in case a notification is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import psycopg
import structlog

from api.auth import Unavailable
from projections.checkpoints import Progress
from projections.connections import AsyncConnection

CHECKPOINTS = "incidents_checkpoints"
_RETRY_S = (0.2, 0.5, 1.0, 2.0)
_log = structlog.get_logger(__name__)

Fetch = Callable[[], Awaitable[Mapping[int, int]]]
"""Gives each partition's next offset that all serving projections have passed; raises ``Unavailable``."""


class Notifications:
    """One connection that listens; ``listeners`` maps a channel to what is called with each notification's payload.

    After a lost connection notifications may have been missed: every listener is called, with nothing, once it is back.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[AsyncConnection]], listeners: Mapping[str, Callable[[str], None]]
    ) -> None:
        self._connect = connect
        self._listeners = listeners
        self.connected = False

    async def run(self) -> None:
        """Listen until cancelled, whatever becomes of the database."""
        failures = 0
        while True:
            try:
                async with await self._connect() as connection:
                    failures = 0
                    await self._listen(connection)
            except psycopg.OperationalError as error:
                _log.warning("notifications are interrupted", error=str(error).strip())
            self.connected = False
            await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
            failures += 1

    async def _listen(self, connection: AsyncConnection) -> None:
        for channel in self._listeners:
            await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
        self.connected = True
        for call in self._listeners.values():
            call("")
        async for notification in connection.notifies():
            self._listeners[notification.channel](notification.payload)


class Checkpoints:
    """The last known positions of the serving projections; ``on_progress`` is called when they moved.

    ``serving`` names these projections, ``topic`` is the one that positions are of. One query at a time, at most one
    more asked for meanwhile: a storm of requests costs a query each 20 ms.
    """

    def __init__(
        self, fetch: Fetch, on_progress: Callable[[Mapping[int, int]], None], *, topic: str, serving: Iterable[str]
    ) -> None:
        self._fetch = fetch
        self._topic = topic
        self._serving = frozenset(serving)
        self._on_progress = on_progress
        self._told: dict[int, int] = {}  # since the last query began: its answer may be older
        self._asked = asyncio.Event()
        self.known: Mapping[int, int] | None = None
        self.reachable = False

    def ask(self) -> None:
        """Read the positions soon."""
        self._asked.set()

    def told(self, payload: str) -> None:
        """Take what a notification says; where that is not enough, read the positions soon."""
        progress = Progress.of(payload)
        if progress is not None and progress.topic != self._topic:
            return
        if progress is None or self.known is None or not self._serving.issubset(progress.projections):
            self.ask()
        elif progress.next_offset > self.known.get(progress.partition, -1):
            self._told[progress.partition] = progress.next_offset
            self.known = {**self.known, progress.partition: progress.next_offset}
            self._on_progress(self.known)

    async def run(self, poll_s: float = 1.0, pause_s: float = 0.02) -> None:
        """Keep the positions until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(pause_s)
            try:
                await asyncio.wait_for(self._asked.wait(), poll_s)
            except TimeoutError:
                continue
            finally:
                self._asked.clear()

    async def read(self) -> None:
        """Read the positions now; while the database is down the old ones stay."""
        self._told.clear()
        try:
            found = dict(await self._fetch())
        except Unavailable:
            self.reachable = False
            return
        self.reachable = True
        found |= {partition: max(offset, found.get(partition, -1)) for partition, offset in self._told.items()}
        if found != self.known:
            self.known = found
            self._on_progress(found)
