"""Start and recovery with 100,000 open incidents: from the start of each process until it says that it is ready.

The incidents are seeded as state items on the state topic and as rows in the database. Recovery is a start after
SIGKILL: the same process again, with all that its predecessor left.
"""

from __future__ import annotations

import time

from confluent_kafka import Producer

from bench.part import Found, Row, Scale, load_average
from bench.seed import seed
from bench.world import World, world
from streams.agents import state_codec
from streams.domain.correlation import Window
from streams.domain.envelope import derive_id
from streams.domain.incident import Incident
from streams.domain.state import ONLY, AlertState, Head
from streams.runtime.partitioning import partition_of

INCIDENTS = 100_000
ALERTS_EACH = 2
PARTITIONS = 4
AT = 1_795_000_000_000
KINDS = ("worker", "projector", "dispatcher", "scheduler", "api")


def measure(scale: Scale) -> Found:
    """A start, then a kill and a start of each kind of process."""
    found = Found()
    count = scale.of(INCIDENTS)
    with world(()) as there:
        _seed_state(there, count)
        seed(there.database, [tenant.name for tenant in there.tenants], count)
        for kind in KINDS:
            started = _timed(there, kind)
            there.kill(kind)
            recovered = _timed(there, kind)
            found.rows.append(
                Row(
                    f"{kind}: ready after a start with {count:,} open incidents (s)",
                    f"{started:.1f}",
                    f"after SIGKILL {recovered:.1f}",
                    "10",
                )
            )
            found.details[kind] = {"start_s": round(started, 2), "after_kill_s": round(recovered, 2)}
    found.details["recovery"] = {"load_average": load_average()}
    return found


def _timed(there: World, kind: str) -> float:
    began = time.monotonic()
    there.start([kind])
    return time.monotonic() - began


def _seed_state(there: World, count: int) -> None:
    """The items of open incidents, each with two firing alerts and a window, for all tenants alike."""
    producer = Producer(
        there.kafka.librdkafka()
        | {"linger.ms": 20, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000}
    )
    topic = there.kafka.topic("orchestrator-state")
    each = count // len(there.tenants)
    for tenant in there.tenants:
        partition = partition_of(tenant.name.encode(), PARTITIONS)
        for n in range(1, each + 1):
            for kind, key, item in _items(tenant.name, n):
                value = state_codec.encode(kind, item)
                producer.produce(topic, value, state_codec.item_key(tenant.name, kind, key), partition=partition)
            if n % 500 == 0:
                producer.poll(0)
        head = Head(clock=AT, next_number=each + 1, tenantsequence=each * 3, salt="0" * 32)
        place = state_codec.item_key(tenant.name, "head", ONLY)
        producer.produce(topic, state_codec.encode("head", head), place, partition=partition)
    if producer.flush(120):
        raise SystemExit("Kafka did not take everything")


def _items(tenant: str, n: int) -> list[tuple[str, str, object]]:
    id_ = derive_id(tenant, str(n))
    incident = Incident(
        id=id_, number=n, title=f"HighRequestLatency on svc-{n}", status="open", severity="SEV-3", service=f"svc-{n}",
        created_at=AT, updated_at=AT, sequence=3, hash="0" * 64, root_cause=f"cause-{n}", alert_count=ALERTS_EACH,
        firing_count=ALERTS_EACH, first_signal_at=AT, last_signal_at=AT, rule="service-error",
        correlation_key=f"service-error:1:{n:016x}",
    )  # fmt: skip
    found: list[tuple[str, str, object]] = [
        ("incident", id_, incident),
        ("window", incident.correlation_key, (Window(id_, AT, AT, AT),)),
    ]
    return found + [("alert", f"{n:012x}{alert:012x}", AlertState(id_, False, AT)) for alert in range(ALERTS_EACH)]
