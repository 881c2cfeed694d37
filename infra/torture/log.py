"""Reads topics as a consumer that sees only what is committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

import schemas
from streams.runtime.settings import KafkaSettings

_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as read from Kafka (a ``runtime.ports.Record``)."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def partitions_of(topic: str) -> int:
    """How many partitions the catalogue gives a topic."""
    return next(spec.partitions for spec in schemas.topics() if spec.name == topic)


def read_topic(
    settings: KafkaSettings, topic: str, isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
) -> Iterator[StoredRecord]:
    """Every record of a catalogue topic (committed, unless told otherwise), in order of its partition's offsets.

    Raises ``KafkaException`` for what no retry mends.
    """
    partitions = partitions_of(topic)
    consumer = _consumer(settings, isolation)
    consumer.assign([TopicPartition(settings.topic(topic), number, 0) for number in range(partitions)])
    at_end: set[int] = set()
    while len(at_end) < partitions:
        for message in consumer.consume(5000, 0.1):
            error = message.error()
            if error is None:
                yield StoredRecord(
                    topic,
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    tuple((name, value or b"") for name, value in message.headers() or ()),
                )
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its only name
                at_end.add(message.partition())
            elif not error.retriable():
                raise KafkaException(error)
    consumer.close()


def ends_of(settings: KafkaSettings, topic: str) -> Mapping[int, int]:
    """The next offset of every partition; raises ``KafkaException`` while the broker is away."""
    consumer = _consumer(settings)
    try:
        return {
            number: consumer.get_watermark_offsets(
                TopicPartition(settings.topic(topic), number), timeout=_TIMEOUT_S, cached=False
            )[1]
            for number in range(partitions_of(topic))
        }
    finally:
        consumer.close()


def _consumer(settings: KafkaSettings, isolation: str = "read_committed") -> Consumer:
    return Consumer(
        settings.librdkafka()
        | {
            "group.id": f"{settings.topic_prefix}readers",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "log_level": 0,
        }
    )
