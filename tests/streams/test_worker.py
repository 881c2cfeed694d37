"""Workers as processes on real Kafka: killed, stopped, joined by others; nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.torture.proxy import proxied
from streams.agents.orchestrator import APPLICATION, INTAKE, STATE, Orchestrator
from streams.runtime.settings import KafkaSettings
from streams.runtime.worker import AgentSpec, Worker
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, read_topic, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


def decided(settings: KafkaSettings) -> int:
    """How many deliveries the record has disposed of so far."""
    return len(check_record(settings).deliveries)


@pytest.fixture
def settings(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this test alone."""
    return own_topics(kafka_settings)


def test_a_worker_killed_in_the_middle_leaves_no_gap_and_no_repeat(settings: KafkaSettings, tmp_path: Path) -> None:
    send(settings, signals(40_000, "a"))
    env = environment(settings)
    with process(["worker"], env, tmp_path / "first.log") as worker:
        wait_until(lambda: any(True for _ in read_topic(settings, "incident-events")), "first events", 60)
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert decided(settings) < 40_000, "the kill came too late to prove anything"
    with process(["worker"], env, tmp_path / "second.log"):
        wait_until(lambda: decided(settings) == 40_000, "all decided after the restart", 60, every=1)
    checked = check_record(settings)
    assert set(checked.deliveries.values()) == {1}


async def test_a_partition_that_is_asked_for_twice_is_opened_once(settings: KafkaSettings) -> None:
    """Rebalances that follow one another ask again before the first answer, and cancel it."""
    opened: Counter[int] = Counter()

    def make(number: int) -> Orchestrator:
        opened[number] += 1
        return Orchestrator(settings, number)

    worker = Worker(settings, AgentSpec(APPLICATION, INTAKE, STATE, make), "test")
    cancelled = asyncio.create_task(worker._positions([0, 1, 2]))
    await asyncio.sleep(0)  # it has begun to open them
    second = asyncio.create_task(worker._positions([0, 1]))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await second == {0: 0, 1: 0}
    assert await worker._positions([0, 1]) == {0: 0, 1: 0}
    assert await worker._positions([]) == {}
    await asyncio.gather(*worker._opening.values())
    assert opened == {0: 1, 1: 1, 2: 1}
    assert worker._lanes == {}, "what went away while it was opened is closed"
    assert worker._showing is not None
    worker._showing.cancel()


def test_a_second_worker_takes_over_and_a_graceful_stop_is_quick(settings: KafkaSettings, tmp_path: Path) -> None:
    env = environment(settings)
    send(settings, signals(500, "a"))
    with process(["worker", "--slot", "1"], env, tmp_path / "one.log") as one:
        wait_until(lambda: decided(settings) == 500, "decided by the first", 60)
        with process(["worker", "--slot", "2"], env, tmp_path / "two.log"):
            wait_until(lambda: b'"assigned"' in (tmp_path / "two.log").read_bytes(), "the second joined", 60)
            send(settings, signals(500, "b"))
            wait_until(lambda: decided(settings) == 1000, "decided by both", 60)
            one.send_signal(signal.SIGTERM)
            assert one.wait(10) in {0, -signal.SIGTERM}
            send(settings, signals(500, "c"))
            wait_until(lambda: decided(settings) == 1500, "decided by the second alone", 60)
    assert set(check_record(settings).deliveries.values()) == {1}


def shown(settings: KafkaSettings) -> dict[int, int]:
    """The positions that the group shows."""
    admin = AdminClient(settings.librdkafka())
    [future] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group(settings))]).values()
    return {tp.partition: tp.offset for tp in future.result().topic_partitions}


def group(settings: KafkaSettings) -> str:
    return settings.topic(APPLICATION)


@pytest.mark.parametrize("falsified", [0, 150, 10**9], ids=["back", "ahead", "beyond"])
def test_positions_are_shown_to_the_group_and_never_trusted(
    settings: KafkaSettings, tmp_path: Path, falsified: int
) -> None:
    env = environment(settings)
    send(settings, signals(100, "a", tenants=1))
    [number] = {record.partition for record in read_topic(settings, "incident-intake")}
    with process(["worker"], env, tmp_path / "first.log") as worker:
        wait_until(lambda: shown(settings).get(number) == 100, "the position is shown", 60)
        worker.send_signal(signal.SIGTERM)
        worker.wait(15)
    send(settings, signals(100, "b", tenants=1))
    admin = AdminClient(settings.librdkafka())
    wrong = TopicPartition(settings.topic("incident-intake"), number, falsified)
    wait_until(lambda: altered(admin, group(settings), wrong), "the group is empty and takes the false position", 30)
    with process(["worker"], env, tmp_path / "second.log") as worker:
        wait_until(lambda: decided(settings) == 200, "all decided", 60)
        wait_until(lambda: shown(settings)[number] == 200, "the true position is shown again", 30)
        assert worker.poll() is None
    assert set(check_record(settings).deliveries.values()) == {1}


def altered(admin: AdminClient, name: str, wrong: TopicPartition) -> bool:
    [future] = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(name, [wrong])]).values()
    try:
        return all(tp.error is None for tp in future.result().topic_partitions)
    except KafkaException:
        return False


def test_a_worker_that_starts_before_kafka_waits_for_it(settings: KafkaSettings, tmp_path: Path) -> None:
    host, port = settings.bootstrap_servers.split(":")
    send(settings, signals(10, "a"))
    with proxied(host, int(port)) as way:
        way.cut()
        log = tmp_path / "worker.log"
        env = environment(settings, KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{way.port}")
        with process(["worker"], env, log) as worker:
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(6)  # it has come up by then and would have given up
            way.mend()
            wait_until(lambda: decided(settings) == 10, "all decided", 60, every=0.5)
            assert worker.poll() is None
