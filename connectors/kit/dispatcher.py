"""The dispatcher: leases intents, carries them out at the providers, and reports each result to the intake.

Safe to kill at any instant and to run several times over: an attempt is counted before it is made, so whoever goes on
looks before it sends again; the result is in Kafka before the row is closed, and has the same id however often it is
reported. Leases are short and renewed while work goes on, so what a killed process held is soon taken over.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Annotated

import psycopg
import structlog
from psycopg.rows import dict_row
from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.kit import outbox, results
from connectors.kit.attempt import attempt
from connectors.kit.contract import Connector
from connectors.kit.database import parameters
from connectors.kit.directory import IntegrationDirectory
from connectors.kit.file_attempt import FileReport, Store
from connectors.kit.http import ProviderHttp
from connectors.kit.outbox import FinalState, Leased
from connectors.kit.outcome import Gone, Ok, Outcome, PermanentFailure, TooLate, TransientFailure
from connectors.kit.targets import HeldBack, Targets
from connectors.kit.ticket_attempt import TicketReport
from streams.domain.attachments import refused_link
from streams.domain.errors import IncidentsError, Transient
from streams.domain.ticket_files import FILE_ACTIONS
from streams.domain.tickets import TICKET_ACTIONS
from streams.runtime import metrics
from streams.runtime.health import WARNING
from streams.runtime.producer import AcknowledgedProducer, ProducerRecord
from streams.runtime.settings import DatabaseSettings

_DEFAULT_RATE_PER_S = 10.0
_RECONNECT_S = 1.0
_OLD_S = 60.0
"""Age of an unfinished intent at which the readiness check says it."""

_PLACES = re.compile(r"\{[a-z]+\}")
_NO_PLACE = "an address of incidents has {key} or {id} in it"

_log = structlog.get_logger(__name__)


def _permalink(given: str) -> str:
    if given and (why := refused_link(given) or ("" if {"{key}", "{id}"} & set(_PLACES.findall(given)) else _NO_PLACE)):
        raise ValueError(why)
    return given


class DispatcherSettings(BaseSettings):
    """How the dispatcher works (environment prefix ``INCIDENTS_DISPATCHER_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_DISPATCHER_", extra="ignore", env_ignore_empty=True)

    max_in_flight: int = Field(32, ge=1, description="intents carried out at the same time")
    per_integration: int = Field(4, ge=1, description="of them, for one integration")
    max_attempts: int = Field(30, ge=1, description="after which an intent that keeps failing is given up")
    lease_s: float = Field(
        9.0, gt=0, description="renewed three times in that time; a killed process's work waits so long"
    )
    poll_s: float = Field(5.0, gt=0, description="how often to look without being told")
    permalink: Annotated[str, AfterValidator(_permalink)] = Field(
        "", description="address of an incident for people, with {key} or {id} in it; tickets get it as a link"
    )
    stop_s: float = Field(
        7.0, gt=0, description="what is under way may finish so long when the process is told to stop"
    )


class Dispatcher:
    """One process's dispatcher; ``run`` until its event is set. Without a ``store`` no file is sent or fetched."""

    def __init__(
        self,
        settings: DispatcherSettings,
        database: DatabaseSettings,
        producer: AcknowledgedProducer,
        directory: IntegrationDirectory,
        http: ProviderHttp,
        connectors: Mapping[str, Connector],
        topic: str,
        store: Store | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._parameters = parameters(database, "projector", "dispatcher")
        self._producer = producer
        self._directory = directory
        self._http = http
        self._connectors = connectors
        self._topic = topic
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._targets = Targets(settings.per_integration)
        self._tasks: dict[asyncio.Task[None], Leased] = {}
        self._held_until: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._connected = False
        self._oldest_s = 0.0

    def checks(self) -> dict[str, str]:
        """What readiness depends on."""
        return {
            "database": "ok" if self._connected else "not connected",
            "kafka": "ok" if self._producer.is_ready() else self._producer.fatal_error or "not reachable",
            "outbox": self._outbox(),
        }

    def _outbox(self) -> str:
        """An old intent is most often a provider that is down: people must know, another dispatcher would not help."""
        old = self._oldest_s >= _OLD_S
        return f"{WARNING}an intent waits for {self._oldest_s:.0f} s" if old else "ok"

    def open_circuits(self) -> int:
        """How many integrations are held back because they fail."""
        return self._targets.open_circuits()

    def stop(self) -> None:
        """Take nothing new, finish what is under way, and let ``run`` return."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until ``stop``; a database that goes away is waited for."""
        while not self._stopping.is_set():
            try:
                async with (
                    await psycopg.AsyncConnection.connect(
                        autocommit=True, row_factory=dict_row, **self._parameters
                    ) as connection,
                    asyncio.TaskGroup() as group,
                ):
                    self._connected = True
                    helpers = [group.create_task(self._listen()), group.create_task(self._keep_leases(connection))]
                    await self._work(connection)
                    for helper in helpers:
                        helper.cancel()
            except* (psycopg.Error, OSError) as errors:
                _log.warning("database", error=str(errors.exceptions[0]).strip())
                self._connected = False
                await self._pause(_RECONNECT_S)
        self._connected = False

    async def _work(self, connection: outbox.AsyncConnection) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                if self._producer.fatal_error:
                    raise IncidentsError(f"producer: {self._producer.fatal_error}")  # a restart mends it
                leased = await self._lease(connection)
                for one in leased:
                    task = asyncio.create_task(self._carry_out(connection, one))
                    self._tasks[task] = one
                    task.add_done_callback(self._done)
                metrics.DISPATCHER_IN_FLIGHT.set(len(self._tasks))
                metrics.DISPATCHER_OPEN_CIRCUITS.set(self.open_circuits())
                if not leased:
                    await self._pause(await self._idle_s(connection))
        finally:
            await self._wind_up(connection)

    async def _lease(self, connection: outbox.AsyncConnection) -> list[Leased]:
        """Few at a time, and none of an integration that has its share: a slow provider must not fill all places."""
        share = self._settings.per_integration
        room = min(share, self._settings.max_in_flight - len(self._tasks))
        if not room:
            return []
        under_way = Counter(one.intent.integration_id for one in self._tasks.values())
        full = [integration_id for integration_id, count in under_way.items() if count >= share]
        held_back = [*self._targets.held_back(), *full]
        began = time.monotonic()
        leased = await outbox.lease(connection, self._owner, room, self._settings.lease_s, held_back)
        self._hold((one.intent.intent_id for one in leased), began)
        return leased

    def _hold(self, intent_ids: Iterable[str], since: float) -> None:
        """Remember until when leases are ours for certain, counted from before they were asked for."""
        self._held_until |= dict.fromkeys(intent_ids, since + self._settings.lease_s)

    def _is_held(self, intent_id: str) -> bool:
        """Whether a lease is still ours: a process that was frozen finds here that it no longer is."""
        return time.monotonic() < self._held_until.get(intent_id, 0.0)

    async def _idle_s(self, connection: outbox.AsyncConnection) -> float:
        """How long to sleep: until the next intent is due, as far as that is not one that is held back."""
        found = await outbox.pending(connection)
        self._oldest_s = found.oldest_s if found else 0.0
        metrics.DISPATCHER_OLDEST_UNSENT_SECONDS.set(self._oldest_s)
        return self._settings.poll_s if found is None else min(self._settings.poll_s, max(found.due_s, 0.25))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    def _done(self, task: asyncio.Task[None]) -> None:
        done = self._tasks.pop(task, None)
        if done is not None:
            self._held_until.pop(done.intent.intent_id, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease runs out and another attempt looks first; nothing is lost.
            _log.warning("intent left to its lease", error=f"{type(error).__name__}: {error}")

    async def _wind_up(self, connection: outbox.AsyncConnection) -> None:
        """Let what is under way finish, cut off what does not, and give those leases back."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._settings.stop_s)
        left = [self._tasks[task].intent.intent_id for task in late if task in self._tasks]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        if left and not connection.closed:
            await outbox.renew(connection, self._owner, left, 0.0)

    async def _keep_leases(self, connection: outbox.AsyncConnection) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_s / 3)
            if self._tasks:
                began, held = time.monotonic(), [one.intent.intent_id for one in self._tasks.values()]
                self._hold(await outbox.renew(connection, self._owner, held, self._settings.lease_s), began)

    async def _listen(self) -> None:
        """Wake up when the projector says that there are new intents."""
        async with await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters) as connection:
            await connection.execute(f"LISTEN {outbox.CHANNEL}")
            self._wake.set()
            async for _ in connection.notifies():
                self._wake.set()

    async def _carry_out(self, connection: outbox.AsyncConnection, leased: Leased) -> None:
        intent = leased.intent
        log = _log.bind(intent_id=intent.intent_id, event_id=intent.event_id, action=intent.action)
        started = time.monotonic()
        try:
            outcome = await self._attempt(leased)
        except HeldBack as held:
            await outbox.retry_later(connection, self._owner, intent.intent_id, held.delay_s, str(held), counted=False)
            return
        except Transient as error:
            outcome = TransientFailure(str(error), error.retry_after_s)
        metrics.DISPATCHER_SECONDS.labels(intent.connector).observe(time.monotonic() - started)
        result = type(outcome).__name__
        metrics.DISPATCHER_ATTEMPTS.labels(intent.connector, intent.action, result).inc()
        log.info("attempted", result=result, attempt=leased.attempt, reason=getattr(outcome, "reason", ""))
        await self._record(connection, leased, outcome)

    async def _attempt(self, leased: Leased) -> Outcome | TooLate | TicketReport | FileReport | Gone:
        intent = leased.intent
        if leased.is_late and leased.attempt == 1:
            return TooLate()
        integration = await self._directory.resolve(intent.integration_id)
        connector = self._connectors.get(intent.connector)
        way = (connector.sends or connector.tickets) if connector else None
        rate = way.rate_per_s if way else _DEFAULT_RATE_PER_S
        target = self._targets.of(intent.integration_id, rate)
        async with target.turn():
            if self._stopping.is_set():
                raise HeldBack(0.0)
            outcome = await attempt(
                self._connectors,
                self._http,
                integration,
                intent,
                leased.attempt,
                is_late=leased.is_late,
                is_held=partial(self._is_held, intent.intent_id),
                store=self._store,
                permalink=self._settings.permalink,
            )
        target.learn(outcome)
        return outcome

    async def _record(
        self,
        connection: outbox.AsyncConnection,
        leased: Leased,
        outcome: Outcome | TooLate | TicketReport | FileReport | Gone,
    ) -> None:
        """Report a final outcome to Kafka, then close the row; give the lease back for any other."""
        intent, attempt_ = leased.intent, leased.attempt
        match outcome:
            case TransientFailure(reason, retry_after_s) if attempt_ < self._settings.max_attempts:
                delay = results.delay_s(attempt_, retry_after_s)
                await outbox.retry_later(connection, self._owner, intent.intent_id, delay, reason)
            case TransientFailure(reason):
                given_up = PermanentFailure(f"given up after {attempt_}: {reason}")
                await self._record(connection, leased, given_up)
            case FileReport() | Gone() | PermanentFailure() if intent.action in FILE_ACTIONS:
                is_done = isinstance(outcome, FileReport)
                said = outcome.detail if isinstance(outcome, FileReport) else outcome.reason
                record = results.files_record(self._topic, leased, outcome)
                await self._close(connection, leased, "delivered" if is_done else "failed", said, record)
            case TicketReport() | Gone():
                state: FinalState = "delivered" if isinstance(outcome, TicketReport) else "failed"
                detail = outcome.detail if isinstance(outcome, TicketReport) else outcome.reason
                await self._close(
                    connection, leased, state, detail, results.ticket_record(self._topic, leased, outcome)
                )
            case PermanentFailure(reason) if intent.action in TICKET_ACTIONS:
                record = results.ticket_record(self._topic, leased, outcome)
                await self._close(connection, leased, "failed", reason, record)
            case Ok(reference, detail):
                await self._effect(connection, leased, "delivered", detail, reference)
            case PermanentFailure(reason):
                await self._effect(connection, leased, "failed", reason)
            case TooLate():
                await self._effect(connection, leased, "expired", "too late to be worth sending")

    async def _effect(
        self, connection: outbox.AsyncConnection, leased: Leased, state: FinalState, detail: str, reference: str = ""
    ) -> None:
        record = results.effect_record(self._topic, leased, state, reference, detail)
        await self._close(connection, leased, state, detail, record)

    async def _close(
        self,
        connection: outbox.AsyncConnection,
        leased: Leased,
        state: FinalState,
        detail: str,
        record: ProducerRecord,
    ) -> None:
        try:
            await self._producer.send([record])
        except Transient as error:
            delay = results.delay_s(1, error.retry_after_s)
            await outbox.retry_later(connection, self._owner, leased.intent.intent_id, delay, f"kafka: {error}")
            return
        await outbox.finish(connection, self._owner, leased.intent.intent_id, state, detail)
