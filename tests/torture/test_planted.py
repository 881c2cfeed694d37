"""Planted bugs in real processes do break what they are there to break; the same faults without them break nothing."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import psycopg
import pytest

from infra.torture import failpoints
from infra.torture.process import environment
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, read_topic, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment as application
from tests.harness.workers import process

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(240)]
SENT = 300
MODULE = "infra.torture.process"


@pytest.fixture
def settings(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this test alone."""
    return own_topics(kafka_settings)


def is_whole(settings: KafkaSettings, count: int) -> bool:
    """Whether the record has every delivery once, and unbroken sequences and chains."""
    try:
        found = check_record(settings).deliveries
    except AssertionError:
        return False
    return len(found) == count and set(found.values()) == {1}


def decided(settings: KafkaSettings, tag: str) -> bool:
    """Whether everything that was sent last shows in the record, whole or not."""
    return any(tag.encode() in (record.value or b"") for record in read_topic(settings, "incident-events"))


def start(
    settings: KafkaSettings, folder: Path, name: str, bugs: Sequence[str], arguments: Sequence[str], **more: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    env = {**application(settings, **more), **environment(folder, name, tuple(bugs))}
    return process(arguments, env, folder / f"{name}.log", module=MODULE)


@pytest.mark.parametrize(
    ("bugs", "whole"),
    [((), True), (("position-before-outputs",), False), (("state-outside-transaction",), False)],
)
def test_a_kill_after_the_first_commit(
    settings: KafkaSettings, tmp_path: Path, bugs: tuple[str, ...], *, whole: bool
) -> None:
    failpoints.arm(tmp_path, "worker-1", "commit-after")
    with start(settings, tmp_path, "worker-1", bugs, ["worker"]) as worker:
        send(settings, signals(SENT, "first", tenants=1))
        assert worker.wait(60) == -signal.SIGKILL
    with start(settings, tmp_path, "worker-1", bugs, ["worker"]):
        send(settings, signals(SENT, "second", tenants=1))
        wait_until(lambda: decided(settings, "second-299"), "decided what came later", 60, every=0.5)
    assert is_whole(settings, 2 * SENT) == whole


@pytest.mark.parametrize(("bugs", "whole"), [((), True), (("worker-fence-removed",), False)])
def test_a_worker_that_was_frozen_and_wakes_up_behind_its_successor(
    settings: KafkaSettings, tmp_path: Path, bugs: tuple[str, ...], *, whole: bool
) -> None:
    failpoints.arm(tmp_path, "worker-1", "begin-before", "freeze")
    with ExitStack() as held:
        zombie = held.enter_context(start(settings, tmp_path, "worker-1", bugs, ["worker", "--slot", "1"]))
        send(settings, signals(SENT, "first", tenants=1))
        wait_until(lambda: failpoints.was_hit(tmp_path, "worker-1", "begin-before"), "frozen", 60)
        held.enter_context(start(settings, tmp_path, "worker-2", bugs, ["worker", "--slot", "2"]))
        wait_until(lambda: decided(settings, "first-299"), "decided by the successor", 60, every=0.5)
        zombie.send_signal(signal.SIGCONT)
        send(settings, signals(SENT, "second", tenants=1))
        wait_until(lambda: decided(settings, "second-299"), "decided what came later", 60, every=0.5)
        wait_until(lambda: zombie.poll() is not None or not is_whole(settings, 2 * SENT), "the zombie has acted", 30)
    assert is_whole(settings, 2 * SENT) == whole


@pytest.mark.parametrize(("bugs", "whole"), [((), True), (("checkpoint-apart-from-rows",), False)])
def test_a_kill_between_checkpoint_and_rows(
    settings: KafkaSettings, database_url: str, tmp_path: Path, bugs: tuple[str, ...], *, whole: bool
) -> None:
    tenant = f"tenant-{tmp_path.name}"
    messages = [(e.__class__(e.id, e.source, e.type, tenant), data) for e, data in signals(SENT, "first", tenants=1)]

    def rows() -> int:
        query = "SELECT count(*) FROM read.timeline_entries WHERE tenant_id = %s"
        with psycopg.connect(database_url) as connection:
            found = connection.execute(query, (tenant,)).fetchone()
        return int(found[0]) if found else 0

    def checkpoint() -> int:
        query = "SELECT max(next_offset) FROM ops.projection_checkpoints WHERE projection = 'timeline_entries'"
        with psycopg.connect(database_url) as connection:
            found = connection.execute(query).fetchone()
        return int(found[0] or 0) if found else 0

    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.projection_checkpoints")  # of the case before, which had other topics
    failpoints.arm(tmp_path, "projector-1", "rows-written")
    with start(settings, tmp_path, "worker-1", (), ["worker"]):
        with start(settings, tmp_path, "projector-1", bugs, ["projector"], DATABASE_URL=database_url) as projector:
            send(settings, messages)
            assert projector.wait(60) == -signal.SIGKILL
        wait_until(lambda: decided(settings, "first-299"), "decided", 60, every=0.5)
        last = max(record.offset for record in read_topic(settings, "incident-events"))
        with start(settings, tmp_path, "projector-1", bugs, ["projector"], DATABASE_URL=database_url) as again:
            wait_until(lambda: checkpoint() > last or again.poll() is not None, "projected, or refused to go on", 60)
    assert (rows() == sum(check_record(settings).kinds.values())) == whole
