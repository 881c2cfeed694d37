"""Sending one command to the intake and waiting for what becomes of it, for commands of operators."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streams.codec import cloudevents
from streams.domain.commands import Command
from streams.domain.envelope import Envelope
from streams.domain.errors import IncidentsError
from streams.domain.outputs import CommandResult
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import KafkaSettings

INTAKE, RESULTS = "incident-intake", "command-results"
_ASK_S = 10.0


class NoAnswer(IncidentsError):  # noqa: N818
    """The command is durably on the intake, or (``sent`` is false) Kafka did not take it; no result came in time."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


def carry_out(settings: KafkaSettings, envelope: Envelope, command: Command, timeout_s: float) -> CommandResult:
    """Send a command and return its result; raises ``NoAnswer``, and ``KafkaException`` where no broker answers."""
    topic = settings.topic(RESULTS)
    consumer = Consumer(
        settings.librdkafka()
        | {
            "group.id": f"{settings.topic_prefix}incidents-operator",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=_ASK_S).topics[topic].partitions
        if not partitions:
            raise NoAnswer(f"there is no topic {topic} (create it with: incidents topics)", sent=False)
        number = partition_of(envelope.tenantid.encode(), len(partitions))
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ASK_S)
        consumer.assign([TopicPartition(topic, number, end)])
        _send(settings, envelope, command)
        return _result(consumer, envelope.id, timeout_s)
    finally:
        consumer.close()


def _send(settings: KafkaSettings, envelope: Envelope, command: Command) -> None:
    failed: list[str] = []
    producer = Producer(
        settings.librdkafka()
        | {"acks": "all", "partitioner": "murmur2_random", "delivery.timeout.ms": int(_ASK_S * 1000)}
    )
    value, headers = cloudevents.encode(envelope, command)
    producer.produce(
        settings.topic(INTAKE),
        key=envelope.tenantid.encode(),
        value=value,
        headers=headers,
        on_delivery=lambda error, _: failed.append(str(error)) if error else None,
    )
    if producer.flush(_ASK_S + 1) or failed:
        raise NoAnswer(failed[0] if failed else "Kafka did not acknowledge the command", sent=False)


def _result(consumer: Any, command_id: str, timeout_s: float) -> CommandResult:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for record in consumer.consume(500, 0.1):
            if record.error() is not None:
                if not record.error().retriable():
                    raise KafkaException(record.error())
                continue
            envelope, _, _ = cloudevents.decode_headers(record.headers())
            if envelope.causationid == command_id:
                result: CommandResult = cloudevents.decode(record.headers(), record.value())[1]
                return result
    raise NoAnswer(f"no result within {timeout_s:.0f} s: is a worker running?", sent=True)
