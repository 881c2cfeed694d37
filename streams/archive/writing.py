"""Writes records into an empty partition: with the offsets they had, or one after the other with a map of both.

The intake keeps its offsets, because spans, positions and dead letters name them. Where the old log has holes, they
are made again: an aborted transaction takes as many offsets as it has records and one more, and no reader of what is
committed ever sees them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.domain.errors import IncidentsError
from streams.runtime.ports import Headers
from streams.runtime.settings import KafkaSettings

_TIMEOUT_S = 60.0
_FILLERS = 10_000
Runs = list[tuple[int, int, int]]
"""Old offset, new offset, how many in a row: the map of a partition."""


class NotWritten(IncidentsError):  # noqa: N818
    """Kafka refused a record, or gave it another offset than it must have."""


class PartitionWriter:
    """Fills one partition from its beginning; ``runs`` maps old offsets to new ones."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._settings = settings
        self._topic = topic
        self._partition = partition
        self._problem = ""
        self._next = 0
        self._kept_below = 0
        self.runs: Runs = []
        self._producer: Any = Producer(_config(settings))

    def keep_offset(self, offset: int) -> None:
        """Leave a hole, so that the next record gets this offset; raises ``NotWritten``."""
        missing = offset - self._next
        if missing == 0:
            return
        if missing < 0:
            raise NotWritten(f"{self._topic}[{self._partition}] is at {self._next}, offset {offset} is behind it")
        self.flush()
        transactional = f"{self._settings.topic_prefix}incidents-restore-{self._topic}-{self._partition}"
        producer: Any = Producer(_config(self._settings) | {"transactional.id": transactional})
        producer.init_transactions(_TIMEOUT_S)
        while missing:
            # Two holes of one are never left: an aborted transaction takes two offsets at least.
            fillers = missing - 1 if missing <= _FILLERS else min(_FILLERS, missing - 3)
            if fillers == 0:
                raise NotWritten(f"{self._topic}[{self._partition}]: a hole of one offset at {self._next}")
            producer.begin_transaction()
            for _ in range(fillers):
                producer.produce(self._topic, value=None, partition=self._partition)
            producer.flush(_TIMEOUT_S)
            producer.abort_transaction(_TIMEOUT_S)
            missing -= fillers + 1
        self._next = offset

    def begin_era(self, offset: int) -> None:
        """What follows has the offsets of a cluster that was restored, in which all before had the ones it has now."""
        if offset != self._next:
            raise NotWritten(f"{self._topic}[{self._partition}]: {self._next} records, a restore had {offset} of them")
        self._kept_below = offset
        self.runs.clear()

    def new_offset(self, old: int) -> int | None:
        """Where the record of an old offset of this era stands now; none where there was no record."""
        if old < self._kept_below:
            return old
        at = bisect_right(self.runs, old, key=lambda run: run[0]) - 1
        first, new, count = self.runs[at] if at >= 0 else (0, 0, 0)
        return new + old - first if first <= old < first + count else None

    def write(
        self, key: bytes | None, value: bytes | None, headers: Headers, timestamp: int, old_offset: int | None = None
    ) -> None:
        """Add a record; ``old_offset`` is where it was, if it was anywhere."""
        if old_offset is not None:
            if self.runs and self.runs[-1][0] + self.runs[-1][2] == old_offset:
                first, new, count = self.runs[-1]
                self.runs[-1] = (first, new, count + 1)
            else:
                self.runs.append((old_offset, self._next, 1))
        expected = self._next
        self._next += 1

        def delivered(error: KafkaError | None, message: Any) -> None:
            if error is not None or message.offset() != expected:
                self._problem = self._problem or str(error or f"offset {message.offset()} where {expected} was due")

        more = {"timestamp": timestamp} if timestamp else {}
        arguments = {"key": key, "value": value, "headers": list(headers), "partition": self._partition, **more}
        while True:
            try:
                self._producer.produce(self._topic, on_delivery=delivered, **arguments)
                break
            except BufferError:
                self._producer.poll(0.5)
        self._producer.poll(0)

    def flush(self) -> int:
        """Wait until Kafka has everything; the next offset. Raises ``NotWritten``."""
        left = self._producer.flush(_TIMEOUT_S)
        if left or self._problem:
            what = self._problem or f"{left} records were not acknowledged"
            raise NotWritten(f"{self._topic}[{self._partition}]: {what}")
        return self._next


def _config(settings: KafkaSettings) -> dict[str, Any]:
    return settings.librdkafka() | {
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": 1_114_112,
        "queue.buffering.max.messages": 200_000,
    }


def take_times_from(settings: KafkaSettings, topic: str, source: str) -> None:
    """Let a topic take record times from ``CreateTime`` or ``LogAppendTime``; records keep what they were given."""
    admin = AdminClient(settings.librdkafka())
    entry = ConfigEntry("message.timestamp.type", source, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource], request_timeout=_TIMEOUT_S).values():
        future.result()
