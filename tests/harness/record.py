"""Reads topics as a consumer that sees only what is committed, and checks the record's sequences and chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer

from infra.torture.log import StoredRecord, read_topic
from streams.codec import cloudevents
from streams.domain import chain, events
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.message import Data
from streams.domain.signals import Signal
from streams.runtime.settings import KafkaSettings

__all__ = ["Checked", "StoredRecord", "check_record", "read_topic", "send", "signals"]


def send(settings: KafkaSettings, messages: Sequence[tuple[Envelope, Data]], topic: str = "incident-intake") -> None:
    """Write messages to a topic and wait until Kafka has them."""
    producer = Producer(settings.librdkafka() | {"acks": "all", "partitioner": "murmur2_random"})
    for envelope, data in messages:
        value, headers = cloudevents.encode(envelope, data)
        producer.produce(settings.topic(topic), key=envelope.tenantid.encode(), value=value, headers=headers)
    assert producer.flush(30) == 0


def signals(count: int, tag: str, *, tenants: int = 3, services: int = 5) -> list[tuple[Envelope, Data]]:
    """Signals of a few services of a few tenants, each with an id of its own."""
    return [
        (
            Envelope(f"{tag}-{n}", "/integrations/test", TYPE_OF[Signal], f"tenant-{n % tenants}"),
            Signal("High latency", fingerprint=f"{tag}-{n}", service=f"service-{n % services}", error_type="latency"),
        )
        for n in range(count)
    ]


@dataclass(slots=True)
class Checked:
    """What a record holds: events by kind, and how often each delivery (tenant, id) was disposed of."""

    kinds: Counter[str] = field(default_factory=Counter)
    deliveries: Counter[tuple[str, str]] = field(default_factory=Counter)
    numbers: dict[str, list[int]] = field(default_factory=dict)


def check_record(settings: KafkaSettings) -> Checked:
    """Check sequences, tenant sequences and the hash chain of the whole record, and sum it up."""
    checked = Checked()
    tenants: Counter[str] = Counter()
    streams: Counter[tuple[str, str]] = Counter()
    hashes: dict[tuple[str, str], str] = {}
    for record in read_topic(settings, "incident-events"):
        envelope, event = cloudevents.decode(record.headers, record.value)
        stream = (envelope.tenantid, envelope.subject)
        tenants[envelope.tenantid] += 1
        streams[stream] += 1
        assert envelope.tenantsequence == tenants[envelope.tenantid]
        assert envelope.sequence == streams[stream]
        assert envelope.prevhash == hashes.get(stream, "")
        assert envelope.datadigest == chain.digest(envelope.datasalt, record.value or b"")
        assert envelope.hash == chain.link(envelope)
        hashes[stream] = envelope.hash
        _count(checked, envelope, event)
    for tenant, numbers in checked.numbers.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), tenant
    return checked


def _count(checked: Checked, envelope: Envelope, event: Any) -> None:
    checked.kinds[type(event).__name__] += 1
    match event:
        case events.AlertsAttached() | events.AlertsRepeated() | events.AlertsResolved():
            checked.deliveries.update((envelope.tenantid, alert.id) for alert in event.alerts)
        case events.IntakeRefused():
            checked.deliveries[envelope.tenantid, event.id] += 1
        case events.Declared():
            checked.numbers.setdefault(envelope.tenantid, []).append(event.number)
