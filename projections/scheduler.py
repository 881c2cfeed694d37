"""The scheduler: turns timers that are due into commands on the intake (R8)."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
import tenacity
from confluent_kafka import KafkaException, Producer

from projections.base import instant, milliseconds
from projections.connections import Connection
from projections.timers import CHANNEL
from projections.writer import TRANSIENT
from streams.codec import cloudevents
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import FireTimer, TimerKind
from streams.domain.envelope import Envelope, derive_id, rfc3339
from streams.domain.errors import IncidentsError
from streams.runtime.metrics import SCHEDULER_FIRED
from streams.runtime.settings import KafkaSettings

SOURCE = "/scheduler"
_AT_ONCE = 500
_SHORTEST_S, _LONGEST_S = 1.0, 60.0
_SLICE_S = 1.0
_DELIVERY_MS = 8_000

_LOG = structlog.get_logger()
Command = tuple[Envelope, FireTimer]
Send = Callable[[Sequence[Command]], None]
"""Returns once Kafka has acknowledged every command, else raises ``NotAcknowledged``."""

_DUE = """
SELECT timer_id, tenant_id, incident_id, timer, due, cause_id FROM ops.timers
WHERE state = 'pending' AND due <= %s ORDER BY due, timer_id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_FIRED = "UPDATE ops.timers SET state = 'fired' WHERE timer_id = ANY(%s)"
_NEXT = "SELECT min(due) FROM ops.timers WHERE state = 'pending'"


class NotAcknowledged(IncidentsError):  # noqa: N818  says what happened, as the other errors do
    """Kafka did not confirm the commands in time; they are sent again, with the same ids."""


@dataclass(frozen=True, slots=True)
class DueTimer:
    """A row of ``ops.timers`` that is due."""

    timer_id: str
    tenant_id: str
    incident_id: str
    timer: TimerKind
    due: datetime
    cause_id: str

    def command(self, now: int) -> Command:
        """The command that it becomes: its id is derived, so that sending it twice is as sending it once."""
        data = FireTimer(self.incident_id, self.timer, milliseconds(self.due), self.cause_id)
        envelope = Envelope(
            id=derive_id(self.timer_id, "fire"),
            source=SOURCE,
            type=TYPE_OF[FireTimer],
            tenantid=self.tenant_id,
            subject=self.incident_id,
            time=rfc3339(now),
            correlationid=self.cause_id,
            causationid=self.cause_id,
        )
        return envelope, data


def fire_due(connection: Connection, send: Send, now: int) -> int:
    """Send the commands of at most 500 timers due at ``now`` (milliseconds) and mark them fired; how many there were.

    They stay locked until Kafka has acknowledged, and other schedulers pass them over. Raises what ``send`` raises;
    then none is marked.
    """
    with connection.transaction():
        rows = connection.execute(_DUE, (instant(now), _AT_ONCE)).fetchall()
        due = [DueTimer(*row) for row in rows]
        if due:
            send([timer.command(now) for timer in due])
            connection.execute(_FIRED, ([timer.timer_id for timer in due],))
    for timer in due:
        SCHEDULER_FIRED.labels(timer.timer).inc()
    return len(due)


def seconds_to_next(connection: Connection, now: int) -> float:
    """How long nothing will be due, between one second and sixty."""
    row = connection.execute(_NEXT).fetchone()
    if row is None or row[0] is None:
        return _LONGEST_S
    return min(max((milliseconds(row[0]) - now) / 1000, _SHORTEST_S), _LONGEST_S)


class Scheduler:
    """One scheduler process; several share the work. ``clock`` gives milliseconds, ``connect`` autocommit mode."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        send: Send,
        stop: threading.Event,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._connect = connect
        self._send = send
        self._stop = stop
        self._clock = clock
        self.problem = "starting"

    def run(self) -> None:
        """Fire timers until ``stop`` is set; PostgreSQL or Kafka away is waited out."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((*TRANSIENT, NotAcknowledged)),
            wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2),
            stop=tenacity.stop_when_event_set(self._stop),
            sleep=tenacity.sleep_using_event(self._stop),
            before_sleep=self._say,
            retry_error_callback=lambda _: None,  # told to stop while waiting: nothing was marked
        )
        while not self._stop.is_set():
            retrying(self._run_connected)

    def _run_connected(self) -> None:
        with self._connect() as connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            while not self._stop.is_set():
                fired = fire_due(connection, self._send, self._clock())
                self.problem = ""
                if fired:
                    _LOG.info("scheduler.fired", timers=fired)
                if fired < _AT_ONCE:
                    self._wait(connection, seconds_to_next(connection, self._clock()))

    def _wait(self, connection: Connection, seconds: float) -> None:
        """Until the time is up, a timer was set or the process is to stop: a look a second costs nothing."""
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([connection.fileno()], [], [], min(left, _SLICE_S))
            if readable:
                for _ in connection.notifies(timeout=0):
                    pass  # which timer it was does not matter
                return

    def _say(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.problem = f"{type(error).__name__}: {error}".strip()
        _LOG.warning("scheduler.retrying", error=self.problem, attempt=state.attempt_number)


class IntakeProducer:
    """Writes commands to ``incident-intake`` and waits until all in-sync replicas have them."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topic = kafka.topic("incident-intake")
        self._producer = Producer(
            {
                **kafka.librdkafka(),
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": _DELIVERY_MS,
            }
        )

    def send(self, commands: Sequence[Command]) -> None:
        """Write the commands; raises ``NotAcknowledged`` unless each was confirmed."""
        errors: list[str] = []
        confirmed: list[None] = []

        def delivered(error: object, _message: object) -> None:
            errors.append(str(error)) if error else confirmed.append(None)

        try:
            for envelope, data in commands:
                value, headers = cloudevents.encode(envelope, data)
                key = envelope.tenantid.encode()
                self._producer.produce(self._topic, value, key, headers=headers, on_delivery=delivered)
            self._producer.flush(_DELIVERY_MS / 1000 + 1)
        except (KafkaException, BufferError) as error:
            raise NotAcknowledged(str(error)) from error
        if len(confirmed) != len(commands):
            raise NotAcknowledged("; ".join(sorted(set(errors))) or "no answer in time")
