"""Reads the state of one partition from its compacted topic, as committed."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from streams.domain.errors import IncidentsError
from streams.runtime.settings import KafkaSettings
from streams.runtime.topics import is_too_early

_TIMEOUT_S = 30
_WAIT_S, _DRAIN_S, _AT_ONCE = 0.1, 0.01, 5000
"""Wait for the first record, then take what came with it: asked for many at once, the client waits for them all."""


class LogTruncated(IncidentsError):  # noqa: N818
    """The intake begins after the position of the state: deciding on would leave a hole."""


def restore(settings: KafkaSettings, topic: str, partition: int, load: Callable[[bytes, bytes | None], None]) -> int:
    """Hand every item of a state partition to ``load``, oldest first; the number of records read.

    ``topic`` is the full name. Raises ``KafkaException`` for what no retry mends.
    """
    consumer = Consumer(
        settings.librdkafka()
        | {
            "group.id": f"{settings.topic_prefix}incidents-restore",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
        }
    )
    read = 0
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while True:
            first = consumer.poll(_WAIT_S)
            for record in (first, *consumer.consume(_AT_ONCE, _DRAIN_S)) if first is not None else ():
                error = record.error()
                if error is None:
                    load(record.key() or b"", record.value())
                    read += 1
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its only name
                    return read
                elif not error.retriable():
                    raise KafkaException(error)
    finally:
        consumer.close()


def check_reachable(settings: KafkaSettings, topic: str, partition: int, position: int) -> None:
    """Raise ``LogTruncated`` when the log no longer holds the offset at which work is to go on."""
    consumer = Consumer(settings.librdkafka() | {"group.id": f"{settings.topic_prefix}incidents-restore"})
    ask = retry(
        retry=retry_if_exception(is_too_early), wait=wait_fixed(0.2), stop=stop_after_delay(_TIMEOUT_S), reraise=True
    )
    try:
        first, end = ask(consumer.get_watermark_offsets)(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
    finally:
        consumer.close()
    if first > position:
        raise LogTruncated(f"{topic}[{partition}] begins at {first}, the state is at {position}: restore the archive")
    if end < position:
        raise LogTruncated(f"{topic}[{partition}] ends at {end}, the state is at {position}: another log or a lost one")
