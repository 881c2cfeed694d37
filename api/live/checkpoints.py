"""How far the serving projections are: read when PostgreSQL notifies, and polled in case a notification is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import psycopg
import structlog

from api.auth import Unavailable
from projections.connections import AsyncConnection

CHECKPOINTS = "incidents_checkpoints"
_RETRY_S = (0.2, 0.5, 1.0, 2.0)
_log = structlog.get_logger(__name__)

Fetch = Callable[[], Awaitable[Mapping[int, int]]]
"""Gives each partition's next offset that all serving projections have passed; raises ``Unavailable``."""


class Notifications:
    """One connection that listens; ``listeners`` maps a channel to what is called for each notification.

    After a lost connection notifications may have been missed: every listener is called once it is back.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[AsyncConnection]], listeners: Mapping[str, Callable[[], None]]
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
            call()
        async for notification in connection.notifies():
            self._listeners[notification.channel]()


class Checkpoints:
    """The last known positions of the serving projections; ``on_progress`` is called when they moved.

    One query at a time, at most one more asked for meanwhile: a storm of notifications costs a query each 20 ms.
    """

    def __init__(self, fetch: Fetch, on_progress: Callable[[Mapping[int, int]], None]) -> None:
        self._fetch = fetch
        self._on_progress = on_progress
        self._asked = asyncio.Event()
        self.known: Mapping[int, int] | None = None
        self.reachable = False

    def ask(self) -> None:
        """Read the positions soon."""
        self._asked.set()

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
        try:
            found = await self._fetch()
        except Unavailable:
            self.reachable = False
            return
        self.reachable = True
        if found != self.known:
            self.known = found
            self._on_progress(found)
