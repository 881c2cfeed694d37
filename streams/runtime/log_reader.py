"""Reads any span of a topic of the log, committed records only, without joining a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from streams.domain.errors import IncidentsError
from streams.runtime.settings import KafkaSettings

GROUP = "incidents-log-reader"
"""Required by the client, never joined."""

_TIMEOUT_S = 30.0
_WAIT_S = 0.2
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001  its only name
_PASSING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._TRANSPORT,  # noqa: SLF001  its only name
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  its only name
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  one that the broker has just named, and the client forgot
)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _PASSING


_patiently = retry(
    retry=retry_if_exception(_is_passing), wait=wait_fixed(0.2), stop=stop_after_delay(_TIMEOUT_S), reraise=True
)
"""For questions to a broker that has just created a topic, or is electing a leader."""


class UnknownTopic(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """The cluster has no such topic."""


class Span(NamedTuple):
    """What a partition holds: the first offset that is there, and the offset that the next record will get."""

    begin: int
    end: int


class LogReader:
    """One topic of the catalogue; a context manager that holds one consumer."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = settings.topic(topic)
        self._consumer: Any = Consumer(
            {
                **settings.librdkafka(),
                "group.id": settings.topic(GROUP),
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 10,
                "queued.max.messages.kbytes": 32_768,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def spans(self) -> dict[int, Span]:
        """What of each partition can be read now; raises ``UnknownTopic``."""
        return self.live_spans()

    @_patiently
    def live_spans(self) -> dict[int, Span]:
        """What each partition of the topic itself holds now; raises ``UnknownTopic``."""
        metadata = self._consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
        if metadata.error is not None:
            if metadata.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise UnknownTopic(f"{self._topic} does not exist")
            raise KafkaException(metadata.error)
        asked = [TopicPartition(self._topic, number) for number in sorted(metadata.partitions)]
        return {p.partition: Span(*self._consumer.get_watermark_offsets(p, timeout=_TIMEOUT_S)) for p in asked}

    @_patiently
    def offsets_at(self, milliseconds: int) -> dict[int, int]:
        """The first offset of each partition whose record is not older than the time; the end where all are."""
        spans = self.spans()
        asked = [TopicPartition(self._topic, number, milliseconds) for number in spans]
        found = self._consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)
        return {p.partition: p.offset if p.offset >= 0 else spans[p.partition].end for p in found}

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int], batch: int = 5_000) -> Iterator[list[Any]]:
        """The records from ``starts`` to before ``ends`` (partition to offset), each partition in its order.

        Yields lists of messages of any of the partitions, at most ``batch`` each; an end that lies behind the log is
        the end of the log. Raises ``KafkaException`` when a start is not in the log or the broker does not answer.
        """
        left = {number: starts[number] for number, end in ends.items() if starts[number] < end}
        if not left:
            return
        self._consumer.assign([TopicPartition(self._topic, number, starts[number]) for number in left])
        heard = time.monotonic()
        try:
            while left:
                missing = sum(ends[number] - following for number, following in left.items())
                messages = self._consumer.consume(min(batch, missing), _WAIT_S)  # it waits for as many as it is asked
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _TIMEOUT_S:
                    raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT, f"{self._topic}: no answer"))
                found = self._within(messages, ends, left)
                if found:
                    yield found
        finally:
            self._consumer.unassign()

    def _within(self, messages: list[Any], ends: Mapping[int, int], left: dict[int, int]) -> list[Any]:
        """The messages of the span; moves the offsets in ``left``, and takes out the partitions that are through."""
        found = []
        for message in messages:
            number, error = message.partition(), message.error()
            if error is not None:
                if error.code() == _EOF:
                    left.pop(number, None)
                elif error.code() not in _PASSING:
                    raise KafkaException(error)
            elif number in left:
                if message.offset() < ends[number]:
                    found.append(message)
                left[number] = message.offset() + 1
                if left[number] >= ends[number]:
                    del left[number]
        return found
