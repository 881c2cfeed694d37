"""The partition that is computed is the one on which Kafka's own partitioner puts a key."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer

from streams.runtime.partitioning import murmur2, partition_of
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import read_topic

KEYS = [f"tenant-{n}"[: n % 11 + 1].encode() + b"\x80" * (n % 3) for n in range(200)] + [b"", "büro".encode()]


@pytest.mark.parametrize(
    ("data", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_murmur2_is_that_of_kafka(data: bytes, hashed: int) -> None:
    """Values of Apache Kafka's own ``UtilsTest.testMurmur2``."""
    assert murmur2(data) == hashed % 2**32


@pytest.mark.stack
def test_keys_lie_where_the_partitioner_puts_them(kafka_settings: KafkaSettings) -> None:
    settings = own_topics(kafka_settings)
    producer = Producer(settings.librdkafka() | {"partitioner": "murmur2_random"})
    for key in KEYS:
        producer.produce(settings.topic("incident-intake"), key=key, value=b"-")
    assert producer.flush(30) == 0
    placed = {record.key: record.partition for record in read_topic(settings, "incident-intake")}
    assert placed == {key: partition_of(key, 4) for key in KEYS}
    assert set(placed.values()) == {0, 1, 2, 3}
