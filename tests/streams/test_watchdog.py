"""The watchdog: what stands still is ended, what waits for nothing is left alone; on real processes and a real log."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer

from infra.torture import failpoints
from infra.torture.process import environment as torture
from streams.runtime import health
from streams.runtime.settings import KafkaSettings
from streams.runtime.watchdog import EXIT_STALLED, Growth, Place, Progress, Watchdog, WatchSettings, readable
from tests.api.conftest import free_port
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

QUICK = {"INCIDENTS_WATCH_STALL_S": "3", "INCIDENTS_WATCH_EVERY_S": "0.5"}


def test_a_position_that_stands_still_although_there_is_work_is_seen() -> None:
    progress: Progress[str] = Progress(10.0)
    for now, position in ((0.0, 5), (4.0, 6), (8.0, 6), (12.0, 6)):
        progress.observe(now, {"a": position, "b": int(now)})
    assert progress.longest() == ("a", 8.0)


def test_without_work_nothing_stands_still() -> None:
    progress: Progress[str] = Progress(10.0)
    progress.observe(0.0, {"a": 5})
    progress.observe(4.0, {})
    assert progress.longest() is None
    progress.observe(8.0, {"a": 5})
    assert progress.longest() == ("a", 0.0)


def test_time_that_nobody_measured_does_not_count() -> None:
    """The broker was away, or the machine was frozen."""
    progress: Progress[str] = Progress(10.0)
    progress.observe(0.0, {"a": 5})
    progress.observe(100.0, {"a": 5})
    assert progress.longest() == ("a", 0.0)


def test_growth_is_that_of_the_last_minutes() -> None:
    growth = Growth()
    assert growth.recent() == 0
    for now, total in ((0, 3), (300, 5), (600, 9)):
        growth.observe(now, total)
    assert growth.recent() == 6
    growth.observe(1100, 9)
    assert growth.recent() == 0


def test_warnings_do_not_make_a_process_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.verdict({"a": "ok"}).as_json() == {"status": "ok", "checks": {"a": "ok", "restarts": "ok"}}
    assert (health.verdict({"a": "warning: x"}).status, health.verdict({"a": "warning: x"}).is_ready) == (
        "degraded",
        True,
    )
    assert (health.verdict({"a": "no", "b": "warning: x"}).status, health.verdict({"a": "no"}).is_ready) == (
        "unavailable",
        False,
    )
    monkeypatch.setenv(health.RESTARTS, "5 exit code 70")
    monkeypatch.setattr(health, "_STARTED", time.monotonic())
    assert health.verdict({}).checks["restarts"] == "warning: started again 5 times, last: exit code 70"
    monkeypatch.setattr(health, "_STARTED", time.monotonic() - 3600)
    assert health.verdict({}).checks["restarts"] == "ok", "it has run for long enough since"


@pytest.mark.stack
def test_behind_the_last_marker_there_is_nothing_to_read(kafka_settings: KafkaSettings) -> None:
    """A position may never reach the end of a log of transactions; that is no work."""
    settings = own_topics(kafka_settings)
    topic = settings.topic("incident-events")
    producer = Producer({**settings.librdkafka(), "transactional.id": settings.topic("watchdog-test")})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, b"x", partition=0)
    producer.commit_transaction()
    place: Place = (topic, 0)
    assert readable(settings, {place: 0, (topic, 1): 0}) == {place}
    assert readable(settings, {place: 1}) == set()
    ended = threading.Event()
    positions = {place: 1}
    watchdog = Watchdog(
        WatchSettings(stall_s=0.4, every_s=0.1), settings, lambda: dict(positions), lambda _: ended.set()
    )
    watchdog.start()
    try:
        assert not ended.wait(1.5), "nothing waits, so nothing stands still"
        producer.begin_transaction()
        producer.produce(topic, b"y", partition=0)
        producer.commit_transaction()
        assert ended.wait(20), "a record waits and the position does not move"
    finally:
        watchdog.stop()


@pytest.mark.stack
@pytest.mark.timeout(180)
def test_a_worker_that_stands_still_ends_and_the_next_one_goes_on(
    kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    settings = own_topics(kafka_settings)
    port = free_port()
    more = {**QUICK, "INCIDENTS_METRICS_PORT": str(port)}
    env = {**environment(settings, **more), **torture(tmp_path, "worker-1")}
    failpoints.arm(tmp_path, "worker-1", "begin-before", "stall 600")
    with process(["worker"], env, tmp_path / "first.log", module="infra.torture.process") as worker:
        send(settings, signals(50, "a", tenants=1))
        assert worker.wait(60) == EXIT_STALLED
    assert b"stands still for 3 s although records wait" in (tmp_path / "first.log").read_bytes()
    with process(["worker"], env, tmp_path / "second.log", module="infra.torture.process"):
        wait_until(lambda: len(check_record(settings).deliveries) == 50, "all decided", 60, every=0.5)
        ready = httpx.get(f"http://127.0.0.1:{port}/health/ready").json()
        assert (ready["status"], ready["checks"]["progress"]) == ("ok", "ok")
        # the age is measured from time to time, so it says so only after the next look
        idle = "incidents_orchestrator_oldest_undecided_seconds 0.0"
        wait_until(lambda: idle in httpx.get(f"http://127.0.0.1:{port}/metrics").text, "nothing undecided", 30)


@pytest.mark.stack
@pytest.mark.timeout(180)
def test_a_projector_that_stands_still_ends(kafka_settings: KafkaSettings, database_url: str, tmp_path: Path) -> None:
    settings = own_topics(kafka_settings)
    env = {**environment(settings, DATABASE_URL=database_url, **QUICK), **torture(tmp_path, "projector-1")}
    failpoints.arm(tmp_path, "projector-1", "rows-written", "stall 600")
    with (
        process(["worker"], env, tmp_path / "worker.log"),
        process(["projector"], env, tmp_path / "projector.log", module="infra.torture.process") as projector,
    ):
        send(settings, signals(50, "a", tenants=1))
        assert projector.wait(60) == EXIT_STALLED
