"""The transactional writer on real Kafka: what is refused is told apart from brokers that are in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.runtime import transaction
from streams.runtime.ports import Write
from streams.runtime.settings import KafkaSettings
from streams.runtime.transaction import TransactionalWriter, Unavailable, WriteFailed
from tests.harness.kafka import own_topics
from tests.harness.record import read_topic

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def settings(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this module alone."""
    return own_topics(kafka_settings)


@pytest.fixture
def writer(settings: KafkaSettings) -> Iterator[TransactionalWriter]:
    """A writer of partition 0."""
    opened = TransactionalWriter(settings, f"{settings.topic_prefix}test", 0)
    yield opened
    opened.close()


def written(settings: KafkaSettings) -> list[bytes | None]:
    return [record.value for record in read_topic(settings, "outbox-intents")]


def test_one_write_that_is_too_large_refuses_all_and_the_writer_goes_on(
    settings: KafkaSettings, writer: TransactionalWriter
) -> None:
    topic = settings.topic("outbox-intents")
    before = written(settings)
    with pytest.raises(WriteFailed):
        writer.write([Write(topic, b"k", b"small"), Write(topic, b"k", b"x" * 2_000_000)])
    assert written(settings) == before
    writer.write([Write(topic, b"k", b"next")])
    assert written(settings) == [*before, b"next"]


def test_more_than_the_queue_holds_is_refused_and_the_writer_goes_on(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_QUEUE_MESSAGES", 10)
    writer = TransactionalWriter(settings, f"{settings.topic_prefix}small", 0)
    topic = settings.topic("outbox-intents")
    before = written(settings)
    with pytest.raises(WriteFailed, match="queue"):
        writer.write([Write(topic, b"k", b"x")] * 50)
    writer.write([Write(topic, b"k", b"after")])
    assert written(settings) == [*before, b"after"]
    writer.close()


def test_brokers_in_trouble_dead_letter_nothing(
    settings: KafkaSettings, writer: TransactionalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    def troubled(call: Callable[[float], None]) -> None:
        nonlocal attempts
        if call == writer._producer.commit_transaction:
            attempts += 1
            raise KafkaException(KafkaError(KafkaError.COORDINATOR_NOT_AVAILABLE, "no coordinator", retriable=False))
        call(5.0)

    monkeypatch.setattr(writer, "_until_done", troubled)
    monkeypatch.setattr("streams.runtime.transaction.time.sleep", lambda _: None)
    with pytest.raises(Unavailable, match="no coordinator"):
        writer.write([Write(settings.topic("outbox-intents"), b"k", b"x")])
    assert attempts == transaction._ATTEMPTS
