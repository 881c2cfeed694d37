"""Writes: a command goes to the intake, its outcome comes back, and the read models are waited for (design 7)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from time import time

import orjson

from api.auth import Unavailable
from api.live.follow import StoredEvents
from api.live.path import LivePath
from api.problems import Problem
from policy.decision import Principal
from streams.codec.cloudevents import encode
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import Command
from streams.domain.envelope import Envelope, derive_id, rfc3339
from streams.domain.errors import Reason
from streams.domain.outputs import CommandAccepted, CommandRejected, CommandResult
from streams.runtime import metrics
from streams.runtime.admission import Overloaded
from streams.runtime.producer import AcknowledgedProducer, BrokerUnavailable, ProducerRecord, QueueFull, RecordTooLarge

_SOURCE = "/api"
_GLANCE_S = 0.3
_STATUS = {
    Reason.UNKNOWN_INCIDENT: 404,
    Reason.UNKNOWN_ATTACHMENT: 404,
    Reason.UNKNOWN_LINK: 404,
    Reason.STALE_REVISION: 412,
    Reason.REUSED_KEY: 422,
    Reason.INVALID_FILE: 422,
    Reason.INVALID_LINK: 422,
}
_INVALID = frozenset({Reason.INVALID_FILE, Reason.INVALID_LINK})
_TITLE = {404: "Not found", 409: "The state does not allow it", 412: "The incident has changed", 422: "Reused key"}


@dataclass(frozen=True, slots=True)
class Submitted:
    """A command that is durably in Kafka: its outcome where it came in time, and whether reads show it yet."""

    command_id: str
    outcome: CommandAccepted | None
    visible: bool


class Commands:
    """Sends commands and waits for them; ``timeout_s`` bounds the waiting, not the command.

    ``admit`` raises ``Overloaded`` for a tenant whose commands have to wait, too.
    """

    def __init__(
        self,
        producer: AcknowledgedProducer,
        topic: str,
        live: LivePath,
        stored: StoredEvents,
        *,
        timeout_s: float,
        admit: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._producer = producer
        self._topic = topic
        self._live = live
        self._stored = stored
        self._timeout_s = timeout_s
        self._clock = clock
        self._admit = admit
        self._waits: set[asyncio.Timeout] = set()
        self._gave_up = False

    async def submit(
        self, principal: Principal, command: Command, *, key: str = "", traceparent: str = ""
    ) -> Submitted:
        """Send a command and wait for its outcome, then for the read models.

        ``key`` is the Idempotency-Key: the same key of the same credential is the same command, answered again.
        Raises ``Problem``: 400 for text with a NUL, which PostgreSQL cannot hold, 503 when Kafka did not take it
        (nothing is promised, send it again), 413 when it is too large, and ``rejection`` of what the decider refused.
        """
        if b"\\u0000" in orjson.dumps(command):
            raise Problem(400, "unsupported-text", "Text that cannot be kept", "a NUL character")
        command_id = derive_id("command", principal.token_id, key) if key else str(uuid.uuid4())
        future = self._live.outcomes.expect(principal.tenant_id, command_id)
        try:
            await self._send(principal, command_id, command, traceparent)
            self._live.outcomes.sent(principal.tenant_id, command_id)
            outcome = await self._outcome(future)
        finally:
            future.cancel()
        metrics.API_COMMANDS.labels(_label(outcome)).inc()
        if isinstance(outcome, CommandRejected):
            raise rejection(outcome)
        if outcome is None:
            return Submitted(command_id, None, visible=False)
        return Submitted(command_id, outcome, await self._is_visible(principal.tenant_id, outcome.tenantsequence))

    def give_up(self) -> None:
        """Whoever waits for a command that is in Kafka is answered now with what is known: the process is about to end.

        Called on the event loop.
        """
        self._gave_up = True
        for wait in self._waits:
            wait.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[None]:
        """Wait for something, but not past ``give_up``: that raises ``TimeoutError``."""
        async with asyncio.timeout(0 if self._gave_up else None) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    async def _send(self, principal: Principal, command_id: str, command: Command, traceparent: str) -> None:
        envelope = Envelope(
            id=command_id,
            source=_SOURCE,
            type=TYPE_OF[type(command)],
            tenantid=principal.tenant_id,
            subject=getattr(command, "incident_id", ""),
            time=rfc3339(int(self._clock() * 1000)),
            traceparent=traceparent,
        )
        value, headers = encode(envelope, command)
        try:
            self._admit(principal.tenant_id)
        except Overloaded as error:
            detail = "nothing was accepted; send it again with the same Idempotency-Key"
            wait = ceil(error.retry_after_s)
            raise Problem(503, "overloaded", "Too much waits to be decided", detail, retry_after_s=wait) from error
        try:
            await self._producer.send([ProducerRecord(self._topic, principal.tenant_id.encode(), value, headers)])
        except RecordTooLarge as error:
            raise Problem(413, "command-too-large", "The command is too large") from error
        except (BrokerUnavailable, QueueFull) as error:
            detail = "nothing is promised; send it again with the same Idempotency-Key"
            raise Problem(
                503, "broker-unavailable", "Kafka did not take the command", detail, retry_after_s=2
            ) from error

    async def _outcome(self, future: asyncio.Future[CommandResult]) -> CommandResult | None:
        try:
            async with self._waiting():
                return await asyncio.wait_for(asyncio.shield(future), self._timeout_s)
        except TimeoutError:
            return None

    async def _is_visible(self, tenant_id: str, tenantsequence: int) -> bool:
        """Whether reads show the event; one from long ago never comes by again, so the database is asked as well."""
        try:
            async with self._waiting():
                if await self._live.wait_for(tenant_id, tenantsequence, _GLANCE_S):
                    return True
                if await self._stored.last(tenant_id) >= tenantsequence:
                    return True
                return await self._live.wait_for(tenant_id, tenantsequence, self._timeout_s)
        except (TimeoutError, Unavailable):
            return False


def _label(outcome: CommandResult | None) -> str:
    if outcome is None:
        return "undecided"
    return "accepted" if isinstance(outcome, CommandAccepted) else outcome.reason


def rejection(outcome: CommandRejected) -> Problem:
    """The problem that tells why a command was refused: 404, 412 or 422 where HTTP has a word for it, else 409."""
    status = next((status for reason, status in _STATUS.items() if reason == outcome.reason), 409)
    title = "The input is not valid" if outcome.reason in _INVALID else _TITLE[status]
    return Problem(status, outcome.reason, title, outcome.detail, reason=outcome.reason)
