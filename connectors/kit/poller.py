"""The poller: asks ticket systems what changed, so that a lost webhook is only a delay.

Any number may run: an integration is read by the process that holds its lease. A page's messages are in Kafka before
the cursor moves past them, so a process may die anywhere.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psycopg
import structlog
from psycopg.rows import dict_row
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.kit import polls, reading, results
from connectors.kit.contract import Connector, Integration, Message
from connectors.kit.database import parameters
from connectors.kit.directory import IntegrationDirectory
from connectors.kit.http import ProviderHttp
from connectors.kit.outbox import AsyncConnection
from connectors.kit.outcome import TransientFailure
from connectors.kit.polls import Leased
from connectors.kit.ticket_checks import Checks
from connectors.kit.tickets import Page, Tickets
from streams.codec import cloudevents
from streams.domain.errors import IncidentsError, Transient
from streams.runtime import metrics
from streams.runtime.health import WARNING
from streams.runtime.producer import AcknowledgedProducer, ProducerRecord
from streams.runtime.settings import DatabaseSettings

_RECONNECT_S = 1.0
_SHORTEST_S, _LONGEST_S = 0.25, 5.0
_NOT_POLLED_S = 300.0
"""How long an integration without an API token is left alone before it is looked at again."""

_REFUSED_S = 300.0
"""How long one is left alone that the provider refuses for good."""

_OLD_ROUNDS = 10
_log = structlog.get_logger(__name__)


class PollerSettings(BaseSettings):
    """How the poller works (environment prefix ``INCIDENTS_POLLER_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_POLLER_", extra="ignore", env_ignore_empty=True)

    interval_s: float = Field(20.0, gt=0, description="from the end of one reading of an integration to the next")
    overlap_s: float = Field(120.0, ge=0, description="how far each reading goes back before the place reached")
    check_s: float = Field(
        3_600.0, gt=0, description="how often the tickets of an integration are compared and repaired"
    )
    page_size: int = Field(100, ge=1, le=1000)
    max_in_flight: int = Field(8, ge=1, description="integrations read at the same time")
    lease_s: float = Field(30.0, gt=0, description="renewed with each page; a killed process's work waits so long")
    stop_s: float = Field(7.0, gt=0, description="what is under way may finish so long when told to stop")


class Poller:
    """One process's poller; ``run`` until ``stop``."""

    def __init__(
        self,
        settings: PollerSettings,
        database: DatabaseSettings,
        producer: AcknowledgedProducer,
        directory: IntegrationDirectory,
        http: ProviderHttp,
        connectors: Mapping[str, Connector],
        topic: str,
    ) -> None:
        self._settings = settings
        self._parameters = parameters(database, "projector", "poller")
        self._producer = producer
        self._directory = directory
        self._http = http
        self._polled = {name: one.tickets for name, one in connectors.items() if one.tickets is not None}
        self._topic = topic
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._sent = reading.Sent()
        self._due = Checks(settings.check_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._connected = False
        self._state = polls.State(None, 0.0, "")

    def checks(self) -> dict[str, str]:
        """What readiness depends on."""
        return {
            "database": "ok" if self._connected else "not connected",
            "kafka": "ok" if self._producer.is_ready() else self._producer.fatal_error or "not reachable",
            "polls": self._polls(),
        }

    def _polls(self) -> str:
        """A ticket system that cannot be read: people must know, another poller would not help."""
        if self._state.errors:
            return WARNING + self._state.errors
        old = self._state.due_s is not None and self._state.oldest_s > _OLD_ROUNDS * self._settings.interval_s
        return f"{WARNING}an integration was not read for {self._state.oldest_s:.0f} s" if old else "ok"

    def stop(self) -> None:
        """Take nothing new, finish what is under way, and let ``run`` return."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``; a database that goes away is waited for."""
        while not self._stopping.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(
                    autocommit=True, row_factory=dict_row, **self._parameters
                ) as connection:
                    self._connected = True
                    await self._work(connection)
            except (psycopg.Error, OSError) as error:
                _log.warning("database", error=str(error).strip())
                self._connected = False
                await self._pause(_RECONNECT_S)
        self._connected = False

    async def _work(self, connection: AsyncConnection) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                if self._producer.fatal_error:
                    raise IncidentsError(f"producer: {self._producer.fatal_error}")  # a restart mends it
                await polls.add_new(connection, list(self._polled))
                room = self._settings.max_in_flight - len(self._tasks)
                leased = await polls.lease(connection, self._owner, room, self._settings.lease_s) if room else []
                for one in leased:
                    task = asyncio.create_task(self._round(connection, one))
                    self._tasks.add(task)
                    task.add_done_callback(self._done)
                self._state = await polls.state(connection)
                metrics.POLLER_OLDEST_SECONDS.set(self._state.oldest_s)
                if not leased:
                    await self._pause(min(max(self._state.due_s or _LONGEST_S, _SHORTEST_S), _LONGEST_S))
        finally:
            await self._wind_up()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out and another round begins where this one was: nothing is lost.
            _log.warning("list left to its lease", error=f"{type(error).__name__}: {error}")

    async def _wind_up(self) -> None:
        """Let what is under way finish, and cut off what does not; its lease runs out."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.stop_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _round(self, connection: AsyncConnection, leased: Leased) -> None:
        """Read an integration's list to its end."""
        log = _log.bind(integration_id=leased.integration_id)
        started = time.monotonic()
        try:
            integration = await self._directory.resolve(leased.integration_id)
            tickets = self._polled.get(integration.connector) if integration else None
            if integration is None or tickets is None or not _has_token(integration):
                await polls.finish(connection, self._owner, leased.integration_id, _NOT_POLLED_S)
                return
            delay_s, error = await self._read(connection, leased, integration, tickets)
        except Transient as transient:
            delay_s, error = results.delay_s(leased.failures + 1, transient.retry_after_s), str(transient)
        else:
            metrics.POLLER_ROUNDS.labels(integration.connector, "failed" if error else "read").inc()
            metrics.POLLER_SECONDS.labels(integration.connector).observe(time.monotonic() - started)
        if error:
            log.warning("poll failed", reason=error, retry_s=round(delay_s, 1))
        await polls.finish(connection, self._owner, leased.integration_id, delay_s, error)

    async def _read(
        self, connection: AsyncConnection, leased: Leased, integration: Integration, tickets: Tickets
    ) -> tuple[float, str]:
        """Seconds until the next round, and what went wrong. Raises ``Transient`` when Kafka does not take a page."""
        begin = reading.start(leased.cursor, round(self._settings.overlap_s * 1000))
        found = reading.pages(tickets, self._http, integration, begin, self._settings.page_size)
        async for page in found:
            if not isinstance(page, Page):
                if isinstance(page, TransientFailure):
                    return results.delay_s(leased.failures + 1, page.retry_after_s), page.reason
                return _REFUSED_S, page.reason
            await self._send(integration, reading.messages_of(integration, page))
            cursor = reading.reached(page)
            if not await polls.save(connection, self._owner, leased, cursor, self._settings.lease_s):
                return 0.0, "the lease went to another process"
            if self._stopping.is_set():
                break
        check = self._due.due(integration, time.time())
        if check is not None:
            await self._producer.send([check.record(self._topic)])
            self._due.done(check)
        return self._settings.interval_s, ""

    async def _send(self, integration: Integration, messages: Sequence[Message]) -> None:
        new = self._sent.new(messages)
        if not new:
            return
        records = []
        for envelope, data in new:
            value, headers = cloudevents.encode(envelope, data)
            records.append(ProducerRecord(self._topic, envelope.tenantid.encode(), value, headers))
        await self._producer.send(records)
        self._sent.remember(new)
        metrics.POLLER_MESSAGES.labels(integration.connector).inc(len(new))


def _has_token(integration: Integration) -> bool:
    """Whether the provider can be asked at all: an integration may be there for its webhooks alone."""
    return bool(integration.valid("api_token", int(time.time() * 1000)))
