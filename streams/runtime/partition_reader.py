"""Reads spans of partitions as committed, without a group: for whoever keeps its position elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from streams.domain.errors import IncidentsError, Transient
from streams.runtime.ports import Headers
from streams.runtime.settings import KafkaSettings

_TIMEOUT_S = 30.0
_AT_ONCE = 5_000
_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  its only name: of a topic that was just created
        KafkaError._TRANSPORT,  # noqa: SLF001  its only name
        KafkaError._TIMED_OUT,  # noqa: SLF001  its only name
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  its only name
    }
)


class KafkaUnavailable(Transient):
    """Kafka did not answer in time."""


class OutOfLog(IncidentsError):  # noqa: N818
    """The partition does not hold the offset that was asked for."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as the log or the archive holds it (a ``runtime.ports.Record``); ``timestamp`` in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def same_content(self, other: StoredRecord) -> bool:
        """Whether key, headers, value and time are the same, wherever the two stand."""
        return (self.key, self.value, self.timestamp, tuple(self.headers)) == (
            other.key,
            other.value,
            other.timestamp,
            tuple(other.headers),
        )


class PartitionReader:
    """One consumer, used for one partition after the other. Topic names are full names.

    ``group`` is under which positions are noted; it is never joined.
    """

    def __init__(self, settings: KafkaSettings, group: str = "incidents-partition-reader") -> None:
        self._consumer: Any = Consumer(
            settings.librdkafka()
            | {
                "group.id": settings.topic(group),
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": 32_768,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def cluster(self) -> str:
        """The id of the Kafka cluster."""
        return str(self._asked(lambda: self._consumer.list_topics(timeout=_TIMEOUT_S)).cluster_id)

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic; raises ``OutOfLog`` when there is no such topic."""
        found = self._asked(lambda: self._consumer.list_topics(topic, timeout=_TIMEOUT_S)).topics[topic]
        if found.error is not None:
            raise OutOfLog(f"{topic}: {found.error}")
        return sorted(found.partitions)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset and the one after the last."""
        asked = TopicPartition(topic, partition)
        first, end = self._asked(lambda: self._consumer.get_watermark_offsets(asked, timeout=_TIMEOUT_S))
        return int(first), int(end)

    def start_at(self, topic: str, partition: int, since: int) -> int:
        """The offset of the first record that is not older than a time in milliseconds; the end where all are."""
        asked = [TopicPartition(topic, partition, since)]
        found = self._asked(lambda: self._consumer.offsets_for_times(asked, timeout=_TIMEOUT_S))[0].offset
        return int(found) if found >= 0 else self.bounds(topic, partition)[1]

    def note(self, topic: str, partition: int, offset: int) -> None:
        """Tell the group's lag tools that everything before ``offset`` was read."""
        self._asked(lambda: self._consumer.commit(offsets=[TopicPartition(topic, partition, offset)]))

    def read(self, topic: str, partition: int, start: int, end: int = OFFSET_END) -> Iterator[StoredRecord]:
        """The committed records from ``start`` to before ``end``, or to what is the end when it is reached.

        Raises ``OutOfLog`` when the log does not hold ``start``, ``KafkaUnavailable`` when Kafka is away.
        """
        if end == start:
            return
        self._consumer.assign([TopicPartition(topic, partition, start)])
        try:
            heard = time.monotonic()
            while True:
                messages = self._consumer.consume(_AT_ONCE, 0.1)
                if messages:
                    heard = time.monotonic()
                elif time.monotonic() - heard > _TIMEOUT_S:
                    raise KafkaUnavailable(f"{topic}[{partition}]: no answer for {_TIMEOUT_S:.0f} s")
                for message in messages:
                    if self._is_end(message, start) or (end >= 0 and message.offset() >= end):
                        return
                    if message.error() is None:
                        yield _record(topic, message)
        finally:
            self._consumer.unassign()

    def _is_end(self, message: Any, start: int) -> bool:
        """Whether an event of the client says that the partition has no more; raises what no retry mends."""
        error = message.error()
        if error is None or error.code() in _PASSING:
            return False
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its only name
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  its only name
            first, end = self.bounds(message.topic(), message.partition())
            where = f"{message.topic()}[{message.partition()}]"
            raise OutOfLog(f"{where} holds offsets {first} to {end}, {start} was asked for")
        raise KafkaException(error)

    @retry(
        retry=retry_if_exception_type(KafkaUnavailable),
        wait=wait_fixed(0.2),
        stop=stop_after_attempt(10),
        reraise=True,
    )
    def _asked(self, call: Callable[[], Any]) -> Any:
        """Ask the broker; it is asked again while it elects leaders of topics just created."""
        try:
            return call()
        except KafkaException as error:
            if error.args[0].retriable() or error.args[0].code() in _PASSING:
                raise KafkaUnavailable(str(error.args[0])) from error
            raise


def _record(topic: str, message: Any) -> StoredRecord:
    headers = tuple((name, value if value is not None else b"") for name, value in message.headers() or ())
    timestamp = message.timestamp()[1]
    return StoredRecord(
        topic, message.partition(), message.offset(), timestamp, message.key(), message.value(), headers
    )
