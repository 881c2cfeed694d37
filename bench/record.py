"""A synthetic record: incidents of several tenants with what real ones have, written straight into Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from confluent_kafka import Producer

from streams.codec import cloudevents
from streams.domain import events
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope, derive_id
from streams.runtime.settings import KafkaSettings

STARTED = 1_790_000_000_000
SPAN = "0:1-2@a1b2c3d4e5f60718"
_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
AT_ONCE = 20
"""Incidents of a tenant that are open at the same time: their events alternate."""


def story(number: int, name: str) -> list[Any]:
    """The twenty events of one incident: eight alerts, five repetitions, three resolved, and what people did."""

    def alert(n: int) -> events.Alert:
        return events.Alert(
            "/integrations/8f2c", f"{name}-{n}", f"{name}-k{n}", "HighLatency: p99 above 2 s", STARTED, STARTED + 5,
            fingerprint=f"{number:08x}{n:08x}", severity="SEV-2", service=f"service-{number % 40}",
            host=f"host-{n}.eu.example.com", error_type="latency", rule="HighLatency", connector="alertmanager",
            integration_id="8f2c", external_id=f"am-{number}-{n}", correlation_rule="service", correlation_version=1,
            correlation_key=f"service-{number % 40}|latency", links={"generator": "https://prometheus.example.com/g?q=1"},
            labels={"cluster": "eu-1", "namespace": "shop", "pod": f"checkout-{n}"},
        )  # fmt: skip

    def reference(n: int, again: str) -> events.AlertRef:
        return events.AlertRef(
            "/integrations/8f2c", f"{name}-{n}-{again}", f"{name}-k{n}", STARTED, STARTED + 5,
            fingerprint=f"{number:08x}{n:08x}", title="HighLatency: p99 above 2 s", connector="alertmanager",
            integration_id="8f2c",
        )  # fmt: skip

    declared = events.Declared(
        number, "HighLatency: p99 above 2 s", "SEV-2", "open", f"service-{number % 40}", rule="service",
        correlation_key=f"service-{number % 40}|latency", actor="system:correlation",
    )  # fmt: skip
    attached = [events.AlertsAttached((alert(n),)) for n in range(8)]
    repeated = [events.AlertsRepeated((reference(n, "r"),)) for n in range(5)]
    ended = [events.AlertsResolved((reference(n, "e"),)) for n in range(3)]
    people = [
        events.Acknowledged("user:ada"),
        events.NoteAdded("Rolled back checkout to 4.2.1, watching the graph", "user:ada"),
        events.Resolved("open", "user:ada", "rolled back", due=STARTED + 259_200_000),
    ]
    return [declared, *attached, *repeated, people[0], people[1], *ended, people[2]]


def of_tenant(tenant: str, count: int) -> Iterator[tuple[Envelope, Any]]:
    """A tenant's first ``count`` events, in their order."""
    open_: list[tuple[str, Iterator[Any]]] = []
    sequences: dict[str, int] = {}
    number = turn = 0
    for tenantsequence in range(1, count + 1):
        if len(open_) < AT_ONCE:
            number += 1
            name = derive_id(tenant, str(number))
            open_.append((name, iter(story(number, f"{tenant}-{number}"))))
            turn = len(open_) - 1
        name, left = open_[turn % len(open_)]
        sequences[name] = sequences.get(name, 0) + 1
        data = next(left)
        if isinstance(data, events.Resolved):
            open_.remove((name, left))
        turn += 1
        yield (
            Envelope(
                derive_id(name, str(sequences[name])), f"/tenants/{tenant}", TYPE_OF[type(data)], tenant, name,
                correlationid=name, causationid=f"{name}-c", sequence=sequences[name], tenantsequence=tenantsequence,
                recordedtime=STARTED + tenantsequence * 10, intakespan=SPAN, decider="1", prevhash=_HASH, hash=_HASH,
                datadigest=_HASH, datasalt="c0ffee00c0ffee00",
            ),
            data,
        )  # fmt: skip


def write(kafka: KafkaSettings, count: int, tenants: int, partitions: int) -> None:
    """Write ``count`` events, tenants spread evenly over the partitions."""
    producer = Producer(
        kafka.librdkafka()
        | {
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
        }
    )
    topic = kafka.topic("incident-events")
    streams = [(n % partitions, of_tenant(f"tenant-{n}", count // tenants)) for n in range(tenants)]
    for _ in range(count // tenants):
        for partition, stream in streams:
            envelope, data = next(stream)
            value, headers = cloudevents.encode(envelope, data)
            while True:
                try:
                    producer.produce(topic, value, envelope.tenantid.encode(), partition, headers=headers)
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        producer.poll(0)
    left = producer.flush(60)
    if left:
        raise RuntimeError(f"{left} events were not written")
