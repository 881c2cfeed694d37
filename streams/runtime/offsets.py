"""Where a partition begins and ends for readers of what is committed.

Asked by a consumer that never joins a group. Not by the admin client's ``list_offsets``: librdkafka 2.16 ends the whole
process when a connection breaks in the middle of it (assertion ``eonce->refcnt > 0`` in
``rd_kafka_enq_once_del_source_return``).
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.runtime.settings import KafkaSettings

ASK_S = 5.0
_PROBE_S, _PAUSE_S = 1.0, 0.1
Place = tuple[str, int]
"""A topic's full name and a partition."""


def asking(settings: KafkaSettings, group: str, *, isolation: str = "read_committed") -> Consumer:
    """A consumer to ask with; ``group`` is the full name of the group whose offsets it may be asked for.

    ``isolation`` says for whom: the end is another one for who reads only what is committed.
    """
    return Consumer(
        {
            **settings.librdkafka(),
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": isolation,
            "log_level": 2,
        }
    )


def wait_for_topic(settings: KafkaSettings, topic: str) -> int:
    """How many partitions a topic (by its full name) has, as soon as Kafka answers and names it.

    A process that starts before the broker need not die for it, and be started again, later each time.
    """
    consumer = asking(settings, "nobody")
    try:
        while True:
            try:
                metadata = consumer.list_topics(topic, timeout=_PROBE_S).topics[topic]
            except KafkaException:
                metadata = None
            if metadata is not None and metadata.error is None and metadata.partitions:
                return len(metadata.partitions)
            time.sleep(_PAUSE_S)
    finally:
        consumer.close()


def partitions(consumer: Consumer, topic: str) -> list[int]:
    """The numbers of a topic's partitions; raises ``KafkaException``, also for a topic that does not exist."""
    metadata = consumer.list_topics(topic, timeout=ASK_S).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return list(metadata.partitions)


def bounds(consumer: Consumer, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
    """The first offset and the end of each partition; raises ``KafkaException``."""
    return {
        (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ASK_S, cached=False)
        for topic, number in places
    }


def await_markers(settings: KafkaSettings, topics: Iterable[str], partition: int, wait_s: float) -> None:
    """Wait until readers of what is committed see all that is now in this partition of the topics (full names).

    A transaction is committed before its markers stand in all of its partitions. Raises ``TimeoutError`` and
    ``KafkaException``.
    """
    places = [(topic, partition) for topic in topics]
    everything = asking(settings, "nobody", isolation="read_uncommitted")
    committed = asking(settings, "nobody")
    deadline = time.monotonic() + wait_s
    try:
        written = bounds(everything, places)
        while any(end < written[place][1] for place, (_, end) in bounds(committed, places).items()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"a transaction is open in partition {partition} for {wait_s:.0f} s")
            time.sleep(_PAUSE_S)
    finally:
        everything.close()
        committed.close()
