"""Three brokers: one killed, work goes on, it comes back; and a second listener for clients behind a proxy."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from infra.local import environment
from infra.local import stack as local_stack
from infra.local.errors import OtherClusterSize
from infra.local.processes import find, read_record
from infra.local.servers.kafka import KafkaServer
from infra.local.settings import StackSettings
from infra.local.stack import Stack
from infra.local.status import status
from infra.torture.proxy import ThreadedProxy, proxied
from streams.runtime.settings import KafkaSettings
from streams.runtime.topics import provision
from tests.harness.own_stack import own_stack
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]
BROKERS = ("kafka", "kafka-2", "kafka-3")


@pytest.fixture(scope="module")
def ours() -> Iterator[Stack]:
    """Three brokers, each with a second listener, and the other servers."""
    with own_stack(brokers=3, kafka_proxied=True) as stack:
        local_stack.up(stack, local_stack.quiet)
        yield stack


def settings_of(stack: Stack) -> KafkaSettings:
    """As the environment file says."""
    values = environment.read(stack.settings.environment_file)
    return KafkaSettings(
        bootstrap_servers=values["KAFKA_BOOTSTRAP_SERVERS"],
        replication_factor=int(values["KAFKA_REPLICATION_FACTOR"]),
        min_insync_replicas=int(values["KAFKA_MIN_INSYNC_REPLICAS"]),
    )


def states(stack: Stack) -> dict[str, object]:
    """What `incidents status` says of each broker."""
    return {str(row["name"]): row["state"] for row in status(stack)["services"] if row["name"] in BROKERS}


def kill(stack: Stack, name: str) -> None:
    """SIGKILL one broker and wait until it has ended."""
    record = read_record(stack.settings.record_file(name))
    assert record is not None
    process = find(record)
    assert process is not None
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs([process], timeout=10.0)


def produce(kafka: KafkaSettings, count: int, seconds: float = 30.0) -> int:
    """Write with acks=all; how many were not acknowledged in time."""
    failed: list[object] = []
    config = {"acks": "all", "enable.idempotence": True, "delivery.timeout.ms": int(seconds * 1000), "log_level": 0}
    producer = Producer({**kafka.librdkafka(), **config})
    for number in range(count):
        producer.produce(
            kafka.topic("incident-intake"),
            b"x",
            partition=number % 4,
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    unsent: int = producer.flush(seconds)
    return unsent + len(failed)


def test_work_goes_on_while_any_one_broker_is_down(ours: Stack) -> None:
    kafka = settings_of(ours)
    assert len(kafka.bootstrap_servers.split(",")) == 3
    provision(kafka)
    assert states(ours) == dict.fromkeys(BROKERS, "running")
    replicas = AdminClient(kafka.librdkafka()).list_topics(timeout=10).topics["incident-intake"].partitions
    assert all(len(one.replicas) == 3 for one in replicas.values())
    for name in BROKERS:
        kill(ours, name)
        assert states(ours) == {other: "stopped" if other == name else "running" for other in BROKERS}
        assert produce(kafka, 400) == 0, f"without {name}"
        local_stack.up(ours, local_stack.quiet)
        wait_until(lambda: in_sync(kafka) == {3}, "the broker has caught up", 60)


def in_sync(kafka: KafkaSettings) -> set[int]:
    """How many copies of the partitions of the intake are in sync."""
    topics = AdminClient(kafka.librdkafka()).list_topics(timeout=10).topics
    return {len(one.isrs) for one in topics["incident-intake"].partitions.values()}


def test_with_two_of_three_down_nothing_is_acknowledged(ours: Stack) -> None:
    kafka = settings_of(ours)
    provision(kafka)
    try:
        kill(ours, "kafka-2")
        kill(ours, "kafka-3")
        assert produce(kafka, 4, seconds=4.0) == 4
    finally:
        local_stack.up(ours, local_stack.quiet)
    wait_until(lambda: produce(kafka, 4, seconds=10.0) == 0, "work goes on", 60)


def test_clients_of_the_second_listener_depend_on_the_proxy(ours: Stack) -> None:
    settings = ours.settings
    proxies: list[ThreadedProxy] = []
    ports = [(settings.broker_ports(node)[2], settings.broker_proxy_port(node)) for node in (1, 2, 3)]
    with (
        proxied("127.0.0.1", *ports[0]) as first,
        proxied("127.0.0.1", *ports[1]) as second,
        proxied("127.0.0.1", *ports[2]) as third,
    ):
        proxies = [first, second, third]
        kafka = settings_of(ours).model_copy(update={"bootstrap_servers": f"127.0.0.1:{first.port}"})
        provision(kafka)
        brokers = AdminClient(kafka.librdkafka()).list_topics(timeout=10).brokers
        assert {broker.port for broker in brokers.values()} == {proxy.port for proxy in proxies}
        assert produce(kafka, 40) == 0
        for proxy in proxies:
            proxy.cut()
        with pytest.raises(KafkaException):
            AdminClient({**kafka.librdkafka(), "log_level": 0}).list_topics(timeout=2)
        assert local_stack.unanswered(ours) == {}, "the others go straight to the brokers"
        for proxy in proxies:
            proxy.mend()
        assert produce(kafka, 40) == 0


def test_a_cluster_keeps_its_size(ours: Stack) -> None:
    other = StackSettings(home=ours.settings.home, brokers=1, port_offset=ours.settings.port_offset)
    with pytest.raises(OtherClusterSize, match="INCIDENTS_BROKERS says 1"):
        KafkaServer(other, "any").prepare()


def test_memory_of_three_brokers_is_bounded(ours: Stack) -> None:
    rows = [row for row in status(ours)["services"] if row["name"] in BROKERS]
    assert sum(int(str(row["rss_bytes"])) for row in rows) < 2_000_000_000


def test_ports_of_brokers_and_proxies_are_apart() -> None:
    settings = StackSettings(brokers=3, kafka_proxied=True, port_offset=0)
    proxies = [settings.broker_proxy_port(node) for node in range(1, 4)]
    ports = [*settings.all_ports(), *proxies]
    assert len(set(ports)) == len(ports)
    assert len({port % 100 for port in ports}) == len(ports), "multiples of 100 keep stacks apart"
