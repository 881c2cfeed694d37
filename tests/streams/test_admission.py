"""Who is held back and when: the rule by itself, and the readings on real Kafka with a real worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.runtime.admission import (
    COMMANDS_S,
    FRESH_S,
    WEBHOOKS_S,
    WINDOW_S,
    Admission,
    Gate,
    Overloaded,
    read_backlog,
)
from streams.runtime.offsets import asking
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

PARTITIONS = 4
BIG, SMALL = "tenant-0", next(f"t{n}" for n in range(99) if partition_of(b"t%d" % n, 4) == partition_of(b"tenant-0", 4))
ELSEWHERE = next(f"t{n}" for n in range(99) if partition_of(b"t%d" % n, 4) != partition_of(b"tenant-0", 4))
NUMBER = partition_of(BIG.encode(), PARTITIONS)
RATE = 1_000
DECIDED = 29_000


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    """A gate that has seen the partition drain 1,000 records a second for a while."""
    gate = Gate(clock)
    for second in range(30):
        gate.observe(PARTITIONS, {NUMBER: (100_000, DECIDED - (29 - second) * RATE)})
        clock.now += 1
    return gate


def backlog(gate: Gate, seconds: float) -> None:
    gate.observe(PARTITIONS, {NUMBER: (DECIDED + int(seconds * RATE), DECIDED)})


def held(gate: Gate, tenant: str, *, command: bool = False) -> float:
    """The seconds after which to come back; 0 when the tenant may go on."""
    try:
        gate.check(tenant, command=command)
    except Overloaded as error:
        return error.retry_after_s
    return 0


def test_nobody_is_held_back_below_the_limit(gate: Gate) -> None:
    gate.accepted(BIG, 1_000)
    backlog(gate, WEBHOOKS_S - 0.5)
    assert not held(gate, BIG)


def test_who_fills_the_partition_waits_and_the_others_go_on(gate: Gate) -> None:
    gate.accepted(BIG, 900)
    gate.accepted(SMALL, 100)
    backlog(gate, WEBHOOKS_S + 1)
    assert 1 <= held(gate, BIG) <= 30
    assert not held(gate, SMALL)
    assert not held(gate, ELSEWHERE), "on another partition"
    assert not held(gate, BIG, command=True), "people do not wait yet"


def test_equals_wait_together(gate: Gate) -> None:
    gate.accepted(BIG, 500)
    gate.accepted(SMALL, 500)
    backlog(gate, WEBHOOKS_S + 1)
    assert held(gate, BIG)
    assert held(gate, SMALL)


def test_at_twice_the_limit_every_tenant_of_the_partition_waits(gate: Gate) -> None:
    gate.accepted(BIG, 900)
    backlog(gate, 2 * WEBHOOKS_S + 1)
    assert held(gate, SMALL)
    assert not held(gate, SMALL, command=True)
    backlog(gate, COMMANDS_S + 1)
    assert held(gate, SMALL, command=True)
    assert not held(gate, ELSEWHERE)


def test_a_share_is_forgotten(gate: Gate, clock: Clock) -> None:
    gate.accepted(BIG, 900)
    clock.now += WINDOW_S + 1
    gate.accepted(SMALL, 1)
    backlog(gate, WEBHOOKS_S + 1)
    assert not held(gate, BIG)
    assert held(gate, SMALL)


def test_what_is_not_known_holds_nobody_back(gate: Gate, clock: Clock) -> None:
    fresh = Gate(clock)
    fresh.accepted(BIG, 10)
    assert not held(fresh, BIG)
    gate.accepted(BIG, 900)
    backlog(gate, 100)
    assert held(gate, BIG)
    clock.now += FRESH_S + 1
    assert not held(gate, BIG), "the reading is too old"


def test_the_first_measurement_replaces_what_was_assumed(clock: Clock) -> None:
    fresh = Gate(clock)
    fresh.accepted(BIG, 1)
    for decided in (0, 50_000):
        fresh.observe(PARTITIONS, {NUMBER: (200_000, decided)})
        clock.now += 1
    backlog = fresh._drains[NUMBER].seconds(clock.now)
    assert backlog == 150_000 / 50_000


def test_a_worker_that_stands_still_keeps_its_last_rate(gate: Gate, clock: Clock) -> None:
    gate.accepted(BIG, 900)
    for lag in range(0, 1_501, 500):
        backlog(gate, lag / RATE)
        clock.now += 1
    assert not held(gate, BIG), "one and a half seconds of work, however long it stands"


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_the_backlog_is_read_from_kafka(kafka_settings: KafkaSettings, tmp_path: Path) -> None:
    settings = own_topics(kafka_settings)
    asker = asking(settings, settings.topic("incidents-orchestrator"))
    send(settings, signals(300, "a", tenants=1))
    assert read_backlog(asker, settings) == (4, {}), "no worker yet: nothing is known"
    with process(["worker"], environment(settings), tmp_path / "worker.log"):
        wait_until(lambda: read_backlog(asker, settings)[1].get(NUMBER) == (300, 300), "decided and shown", 60)
    send(settings, signals(50_000, "b", tenants=1))
    assert read_backlog(asker, settings)[1][NUMBER] == (50_300, 300)
    admission = Admission(settings).start()
    try:
        admission.accepted(BIG, 1)

        def is_held() -> bool:
            try:
                admission.check(BIG)
            except Overloaded:
                return True
            return False

        wait_until(is_held, "held back", 20)
        admission.check(ELSEWHERE)
    finally:
        admission.stop()


@pytest.mark.timeout(60)
def test_without_a_broker_nobody_is_held_back() -> None:
    admission = Admission(KafkaSettings(bootstrap_servers="127.0.0.1:1")).start()
    try:
        admission.accepted(BIG, 1)
        admission.check(BIG)
    finally:
        admission.stop()
