"""The acknowledged producer on real Kafka, and object storage on a real S3 server."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from streams.runtime.object_storage import ObjectStorage, StorageUnavailable, UnknownObject
from streams.runtime.producer import (
    MAX_RECORD_BYTES,
    AcknowledgedProducer,
    BrokerUnavailable,
    ProducerRecord,
    QueueFull,
    RecordTooLarge,
)
from streams.runtime.settings import KafkaSettings, ObjectStorageSettings
from streams.runtime.topics import provision
from tests.harness.objects import client_of

pytestmark = [pytest.mark.stack]


@pytest.fixture(scope="module")
def topic(kafka_settings: KafkaSettings) -> str:
    provision(kafka_settings)
    return kafka_settings.topic("incident-intake")


@pytest.fixture(scope="module")
def producer(kafka_settings: KafkaSettings, topic: str) -> Iterator[AcknowledgedProducer]:
    assert topic
    found = AcknowledgedProducer(kafka_settings, "test-producer")
    yield found
    found.close()


async def test_many_calls_at_once_are_each_acknowledged(
    producer: AcknowledgedProducer, kafka_settings: KafkaSettings
) -> None:
    topic = kafka_settings.topic("outbox-intents")
    calls = [[ProducerRecord(topic, b"k", b"%d-%d" % (n, m), [("h", b"v")]) for m in range(20)] for n in range(100)]
    await asyncio.gather(*(producer.send(records) for records in calls))
    producer.send_and_wait([ProducerRecord(topic, b"k", b"last", [])], 10)
    await producer.send([])
    consumer = Consumer({**kafka_settings.librdkafka(), "group.id": "none", "enable.auto.commit": False})
    partitions = [TopicPartition(topic, number, 0) for number in range(4)]
    assert sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions) == 2001
    consumer.close()
    assert producer.is_ready()
    assert producer.fatal_error == ""


async def test_a_cancelled_caller_does_not_disturb_the_others(
    producer: AcknowledgedProducer, kafka_settings: KafkaSettings
) -> None:
    record = ProducerRecord(kafka_settings.topic("command-results"), b"k", b"v", [])
    gone = asyncio.create_task(producer.send([record]))
    await asyncio.sleep(0)
    gone.cancel()
    await producer.send([record])
    assert gone.cancelled()


async def test_a_record_above_the_limit(producer: AcknowledgedProducer, topic: str) -> None:
    with pytest.raises(RecordTooLarge):
        await producer.send([ProducerRecord(topic, b"k", os.urandom(MAX_RECORD_BYTES + 1), [])])


async def test_a_broker_that_is_not_there() -> None:
    producer = AcknowledgedProducer(
        KafkaSettings(bootstrap_servers="127.0.0.1:9"), "test", delivery_timeout_ms=500, max_queued=3
    )
    record = ProducerRecord("t", b"k", b"v", [])
    try:
        with pytest.raises(BrokerUnavailable):
            await asyncio.wait_for(producer.send([record]), 10)
        with pytest.raises(BrokerUnavailable):
            await asyncio.to_thread(producer.send_and_wait, [record], 10.0)
        with pytest.raises(QueueFull):
            await producer.send([record] * 4)
        assert not producer.is_ready()
    finally:
        producer.close(0.1)
    assert "test-deliveries" not in {thread.name for thread in threading.enumerate()}


async def test_calls_fail_at_once_when_the_broker_has_been_away_for_a_while() -> None:
    producer = AcknowledgedProducer(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "test", delivery_timeout_ms=60_000)
    waiting: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(20):
            while not waiting or not waiting[-1].done():
                waiting.append(asyncio.create_task(producer.send([ProducerRecord("t", b"k", b"v", [])])))
                await asyncio.sleep(0.1)
        assert isinstance(waiting[-1].exception(), BrokerUnavailable)
        assert not waiting[0].done()
    finally:
        producer.close(0.1)
        for task in waiting:
            task.cancel()


def test_objects_are_found_by_their_digest(object_storage: ObjectStorageSettings) -> None:
    storage = ObjectStorage(object_storage)
    key = storage.put(b"content")
    assert key == storage.put(b"content") == "sha256/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert storage.get(key) == b"content"
    with pytest.raises(UnknownObject):
        storage.get("sha256/00")


def test_a_bucket_is_made_where_it_is_missing(object_storage: ObjectStorageSettings) -> None:
    fresh = object_storage.model_copy(update={"bucket": f"{object_storage.bucket}-new"})
    key = ObjectStorage(fresh).put(b"x")
    assert ObjectStorage(fresh).get(key) == b"x"
    client = client_of(fresh)
    client.remove_object(bucket_name=fresh.bucket, object_name=key)
    client.remove_bucket(bucket_name=fresh.bucket)


def test_a_storage_that_is_not_there(object_storage: ObjectStorageSettings) -> None:
    with pytest.raises(StorageUnavailable):
        ObjectStorage(object_storage.model_copy(update={"endpoint": "http://127.0.0.1:9"})).put(b"x")


async def test_who_still_waits_when_the_process_must_end_is_told_so() -> None:
    nobody = AcknowledgedProducer(KafkaSettings(bootstrap_servers="127.0.0.1:9"), "test-giving-up")
    try:
        waiting = asyncio.create_task(nobody.send([ProducerRecord("t", b"k", b"v", [])]))
        await asyncio.sleep(0)
        nobody.give_up()
        with pytest.raises(BrokerUnavailable, match="had to end"):
            await waiting
    finally:
        nobody.close(0.1)
