"""Real processes on the real stack die at their fail points, and what comes out is whole."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg
import pytest

from infra.torture import failpoints
from infra.torture.process import environment
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment as application
from tests.harness.workers import process

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(300)]
UNDER_LOAD = ("begin-before", "begin-after", "commit-before", "commit-after", "moved")
AT_START = ("fence-before", "fence-after", "restoring", "restored")
PROJECTING = ("transaction-before", "checkpoint-moved", "rows-written", "rows-committed")
CLAIMING = ("claim-before", "claim-after")


@pytest.fixture
def settings(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this test alone."""
    return own_topics(kafka_settings)


def test_a_worker_dies_at_every_step_and_nothing_is_lost_or_repeated(settings: KafkaSettings, tmp_path: Path) -> None:
    env = {**application(settings), **environment(tmp_path, "worker-1")}
    sent = 0
    for point in (*UNDER_LOAD, *AT_START):
        failpoints.arm(tmp_path, "worker-1", point)
        with process(["worker"], env, tmp_path / f"{point}.log", module="infra.torture.process") as worker:
            send(settings, signals(300, point))
            sent += 300
            assert worker.wait(60) == -signal.SIGKILL, point
        assert failpoints.was_hit(tmp_path, "worker-1", point)
    with process(["worker"], env, tmp_path / "last.log", module="infra.torture.process"):
        wait_until(lambda: len(check_record(settings).deliveries) == sent, "all decided", 60, every=0.5)
    assert set(check_record(settings).deliveries.values()) == {1}


def test_a_projector_dies_at_every_step_and_the_rows_are_whole(
    settings: KafkaSettings, database_url: str, tmp_path: Path
) -> None:
    env = {**application(settings, DATABASE_URL=database_url), **environment(tmp_path, "projector-1")}

    def rows() -> int:
        with psycopg.connect(database_url) as connection:
            found = connection.execute("SELECT count(*) FROM read.timeline_entries").fetchone()
        return int(found[0]) if found else 0

    with process(["worker"], env, tmp_path / "worker.log"):
        for point in (*PROJECTING, *CLAIMING):
            failpoints.arm(tmp_path, "projector-1", point)
            log = tmp_path / f"{point}.log"
            with process(["projector"], env, log, module="infra.torture.process") as projector:
                send(settings, signals(300, point))
                assert projector.wait(60) == -signal.SIGKILL, point
            assert failpoints.was_hit(tmp_path, "projector-1", point)
        with process(["projector"], env, tmp_path / "last.log", module="infra.torture.process"):
            decided = len(PROJECTING + CLAIMING) * 300
            wait_until(lambda: len(check_record(settings).deliveries) == decided, "all decided", 60, every=0.5)
            events = sum(check_record(settings).kinds.values())
            wait_until(lambda: rows() == events, "every event has its row", 60)
