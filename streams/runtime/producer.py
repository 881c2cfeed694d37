"""A producer that answers only once Kafka has the records: ``acks=all``, idempotent, one future for a whole call.

librdkafka's delivery reports arrive on one polling thread; it wakes the event loop once for all calls that a wake-up
completed, which is what makes 40,000 acknowledged records a second possible in one process. The client's own asyncio
producer cannot carry record headers (confluent-kafka 2.16, ``AIOProducer.produce``), so this bridge stands instead.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.codec.cloudevents import Headers
from streams.domain.errors import IncidentsError, Transient
from streams.domain.records import dataclass
from streams.runtime.settings import KafkaSettings

MAX_QUEUED_RECORDS = 100_000
MAX_RECORD_BYTES = 1_000_000
"""Below the topics' ``max.message.bytes``, so that the broker never refuses what was taken here."""

_POLL_S = 0.25
_PROBE_S = 1.0
_PATIENCE_S = 3.0
"""How long Kafka may be away until calls fail at once instead of waiting: senders of webhooks wait five seconds."""

_CLOSE_S = 8.0
_UNREACHABLE = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001  the client's name for a public code
_log = structlog.get_logger(__name__)


class BrokerUnavailable(Transient):
    """Kafka did not acknowledge in time; the records may or may not be there, so send them again."""


class QueueFull(Transient):
    """More records wait for Kafka than may; nothing of this call is promised."""


class RecordTooLarge(IncidentsError):  # noqa: N818  named as Kafka's RecordTooLargeException
    """A record above ``MAX_RECORD_BYTES``: no retry repairs that."""


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """One record; ``topic`` is the name on the cluster, ``key`` the tenant in UTF-8."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers


class _Call:
    """The records of one call: counts acknowledgements down and tells whoever waits, once."""

    __slots__ = ("_finished", "error", "remaining")

    def __init__(self, remaining: int, finished: Callable[[_Call], None]) -> None:
        self.remaining = remaining
        self.error: KafkaError | None = None
        self._finished = finished

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        del message
        if error is not None:
            self.error = error
        self.remaining -= 1
        if not self.remaining:
            self._finished(self)

    def outcome(self) -> IncidentsError | None:
        """What to raise where the call waits; nothing when every record is in Kafka."""
        if self.error is None:
            return None
        if self.error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return RecordTooLarge(self.error.str())
        return BrokerUnavailable(self.error.str())


class AcknowledgedProducer:
    """An idempotent producer for one process; safe to use from several threads and from one event loop.

    ``delivery_timeout_ms`` bounds how long a call waits for Kafka, ``max_queued`` how many records may wait.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        client_id: str,
        *,
        delivery_timeout_ms: int = 15_000,
        max_queued: int = MAX_QUEUED_RECORDS,
    ) -> None:
        self._max_queued = max_queued
        self._timeout_s = delivery_timeout_ms / 1000
        self._away_since: float | None = time.monotonic()
        self._fatal = ""
        self._closing = False
        self._awaited: set[asyncio.Future[None]] = set()
        self._completed: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None], _Call]] = deque()
        self._producer = Producer(
            {
                **settings.librdkafka(),
                "client.id": client_id,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 3,
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": delivery_timeout_ms,
                "message.max.bytes": MAX_RECORD_BYTES,
                "queue.buffering.max.messages": max_queued,
                "queue.buffering.max.kbytes": 131_072,
                "error_cb": self._on_error,
                "log_level": 2,  # the client would write every failed connection to standard error
            }
        )
        self._thread = threading.Thread(target=self._poll, name=f"{client_id}-deliveries", daemon=True)
        self._thread.start()

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        """Return once Kafka has acknowledged every record.

        Raises ``QueueFull`` or ``BrokerUnavailable`` (some records may have been written: send all again, readers
        deduplicate) and ``RecordTooLarge``.
        """
        if not records:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._enqueue(records, lambda call: self._completed.append((loop, future, call)))
        self._awaited.add(future)
        future.add_done_callback(self._awaited.discard)
        await future

    def give_up(self) -> None:
        """Whoever still waits in ``send`` gets ``BrokerUnavailable`` now: the process is about to end.

        Called on the event loop; the records may still be written.
        """
        for future in list(self._awaited):
            if not future.done():
                future.set_exception(BrokerUnavailable("not acknowledged before the process had to end"))

    def send_and_wait(self, records: Sequence[ProducerRecord], timeout_s: float | None = None) -> None:
        """As ``send``, for processes without an event loop; ``timeout_s`` defaults to the delivery timeout."""
        if not records:
            return
        done = threading.Event()
        finished: list[_Call] = []

        def finish(call: _Call) -> None:
            finished.append(call)
            done.set()

        self._enqueue(records, finish)
        if not done.wait(self._timeout_s + 1 if timeout_s is None else timeout_s):
            raise BrokerUnavailable("no acknowledgement in time")
        if (error := finished[0].outcome()) is not None:
            raise error

    def is_ready(self) -> bool:
        """Whether Kafka answered last time; probed every second while it does not."""
        return self._away_since is None and not self._fatal

    @property
    def fatal_error(self) -> str:
        """Why this producer can never send again (the process should be restarted), or empty."""
        return self._fatal

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Stop; what is queued has so long to be delivered."""
        self._closing = True
        self._thread.join(_PROBE_S + _POLL_S + 1)  # from here on, deliveries are reported on this thread alone
        self._producer.flush(timeout_s)
        self._wake()

    def _enqueue(self, records: Sequence[ProducerRecord], finished: Callable[[_Call], None]) -> None:
        if self._fatal:
            raise BrokerUnavailable(self._fatal)
        if len(self._producer) + len(records) > self._max_queued:
            raise QueueFull("too many records wait for Kafka")
        if self._away_since is not None and time.monotonic() - self._away_since > _PATIENCE_S:
            raise BrokerUnavailable("kafka is not reachable")
        call = _Call(len(records), finished)
        produce, on_delivery = self._producer.produce, call.on_delivery
        try:
            for record in records:
                produce(record.topic, record.value, record.key, on_delivery=on_delivery, headers=record.headers)
        except BufferError as error:
            raise QueueFull("too many bytes wait for Kafka") from error
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise RecordTooLarge(str(error)) from error
            raise BrokerUnavailable(str(error)) from error

    def _poll(self) -> None:
        while not self._closing:
            if self._away_since is not None:
                self._probe()
            self._producer.poll(_POLL_S)
            if self._completed:
                self._wake()

    def _wake(self) -> None:
        """Hand the completed calls to their loops, one call each however many were completed."""
        batches: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], _Call]]] = {}
        while self._completed:
            loop, future, call = self._completed.popleft()
            batches.setdefault(loop, []).append((future, call))
            if call.error is None:
                self._away_since = None
        for loop, batch in batches.items():
            try:
                loop.call_soon_threadsafe(_resolve, batch)
            except RuntimeError:
                _log.info("nobody waits for these deliveries any more", calls=len(batch))

    def _probe(self) -> None:
        try:
            self._producer.list_topics(timeout=_PROBE_S)
        except KafkaException:
            return
        self._away_since = None
        _log.info("kafka is reachable")

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error.str()
            _log.error("kafka producer cannot go on", error=self._fatal)
        elif self._away_since is None and error.code() == _UNREACHABLE:
            _log.warning("kafka is not reachable", error=error.str())
            self._away_since = time.monotonic()


def _resolve(batch: list[tuple[asyncio.Future[None], _Call]]) -> None:
    for future, call in batch:
        if future.done():  # its request was cancelled
            continue
        error = call.outcome()
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
