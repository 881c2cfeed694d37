"""Reading a topic from its end, without a consumer group, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.runtime.offsets import asking, bounds, partitions
from streams.runtime.settings import KafkaSettings

_POLL_S = 0.25
_BATCH = 1_000
_RETRY_S = 1.0
_REQUEST_S = 5.0
_log = structlog.get_logger(__name__)

Start = Callable[[Consumer, str], Mapping[int, int] | None]
"""Where to begin: partition to offset, from the topic's name; ``None`` while that cannot be told yet."""


def last_stable(asker: Consumer, topic: str) -> dict[int, int]:
    """Each partition's end for readers of committed records; raises ``KafkaException``."""
    found = bounds(asker, [(topic, number) for number in partitions(asker, topic)])
    return {number: end for (_, number), (_, end) in found.items()}


def earliest(asker: Consumer, topic: str, numbers: Sequence[int]) -> dict[int, int]:
    """The first offset that each partition still holds; raises ``KafkaException``."""
    found = bounds(asker, [(topic, number) for number in numbers])
    return {number: first for (_, number), (first, _) in found.items()}


class Tail:
    """One topic, all partitions, committed records only; goes on after any interruption where it was.

    ``deliver`` gets batches on the event loop, one at a time; while ``is_full()`` nothing more is read. ``start`` says
    where to begin the first time. To ask it again would pass over what was projected during the interruption.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        start: Start,
        deliver: Callable[[Sequence[Message]], None],
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._topic = settings.topic(topic)
        self._start = start
        self._deliver = deliver
        self._is_full = is_full
        self._next: dict[int, int] = {}
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"tail-{topic}", daemon=True)
        self.positioned = asyncio.Event()
        """Set once reading has begun: from then on nothing that is committed is missed."""
        self.reachable = False

    def start(self) -> None:
        """Begin; called on the event loop that batches go to."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread; at most a second or two."""
        self._stopping.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 3 * _POLL_S + _REQUEST_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._read_until_it_breaks()
            except (KafkaException, TimeoutError, KeyError) as error:
                self.reachable = False
                _log.warning("reading is interrupted", topic=self._topic, error=str(error))
            self._stopping.wait(_RETRY_S)

    def _read_until_it_breaks(self) -> None:
        start = self._begin()
        if start is None:
            return
        self._next = dict(start)
        consumer = Consumer(
            {
                **self._settings.librdkafka(),
                "group.id": self._settings.topic("incidents-api-live"),  # required by the client, never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 500,
                "queued.max.messages.kbytes": 16_384,
                "error_cb": self._on_error,
            }
        )
        try:
            consumer.assign([TopicPartition(self._topic, partition, offset) for partition, offset in start.items()])
            self.reachable = True
            self._call(self.positioned.set)
            while not self._stopping.is_set():
                self._read(consumer)
        finally:
            consumer.close()

    def _begin(self) -> Mapping[int, int] | None:
        asker = asking(self._settings, self._settings.topic("incidents-api-live"))
        try:
            return self._resume(asker) if self._next else self._start(asker, self._topic)
        finally:
            asker.close()

    def _resume(self, asker: Consumer) -> Mapping[int, int]:
        begins = earliest(asker, self._topic, list(self._next))
        return {partition: max(offset, begins[partition]) for partition, offset in self._next.items()}

    def _read(self, consumer: Consumer) -> None:
        if self._is_full():
            self._stopping.wait(_POLL_S)
            return
        first = consumer.poll(_POLL_S)
        if first is None:
            return
        messages = [first, *consumer.consume(_BATCH, 0)]
        for message in messages:
            if (error := message.error()) is not None:
                raise KafkaException(error)
        self.reachable = True
        self._hand_over(messages)

    def _hand_over(self, messages: Sequence[Message]) -> None:
        """Give a batch to the loop and wait until it took it, so that a busy loop slows reading down."""
        done = threading.Event()

        def take() -> None:
            try:
                self._deliver(messages)
            finally:
                done.set()

        self._call(take)
        while not self._stopping.is_set() and not done.wait(_POLL_S):
            pass
        for message in messages:
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            self._next[partition] = offset + 1

    def _call(self, function: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: the process is going down
            self._stopping.set()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  the client's name for a public code
            self.reachable = False
            return
        if self.reachable:  # once down, it says so again with every attempt to connect
            _log.warning("kafka client error", topic=self._topic, error=error.str())
