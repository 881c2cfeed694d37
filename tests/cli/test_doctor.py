"""`incidents doctor`: every check passes on what is right and is tripped by what it is for."""

from __future__ import annotations

import base64
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.diagnosis import database, kafka, machine
from cli.diagnosis.finding import Finding
from cli.exit_codes import ExitCode
from cli.main import build
from connectors.kit.secrets import ConnectorSettings
from projections.connections import connect
from streams.runtime import health
from streams.runtime.dead_letter import DeadLetter, Mark, Original, Place, State
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.harness.kafka import own_topics
from tests.harness.record import send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

KEY = base64.b64encode(b"k" * 32).decode()
NOWHERE = "127.0.0.1:1"


def test_python() -> None:
    assert machine.check_python().state == "ok"
    assert machine.check_python((3, 10)).state == "failed"


def test_java_is_needed_only_for_a_local_broker() -> None:
    assert machine.check_local_stack(is_needed=True).state == "ok"
    assert machine.check_local_stack(is_needed=False, which=lambda _: None).state == "ok"
    found = machine.check_local_stack(is_needed=True, which=lambda name: None if name == "mvn" else name)
    assert (found.state, found.detail) == ("failed", "not found: mvn")


def test_java_that_is_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert machine.check_local_stack(is_needed=True).state == "failed"


def test_disk(tmp_path: Path) -> None:
    free = machine.check_disk(tmp_path / "not" / "yet", 1)
    assert free.state == "ok"
    mb = int(free.detail.split()[0])
    assert machine.check_disk(tmp_path, mb // 2).state == "warning"
    assert machine.check_disk(tmp_path, mb * 2).state == "failed"


@pytest.mark.parametrize(("key", "state"), [(KEY, "ok"), ("", "failed"), ("c2hvcnQ=", "failed"), ("%%", "failed")])
def test_the_secret_key(key: str, state: str) -> None:
    found = machine.check_secret_key(ConnectorSettings(secret_key=SecretStr(key)))
    assert found.state == state
    assert not key or key not in found.detail


def test_a_process_is_asked_itself() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    row: dict[str, Any] = {"name": "worker", "state": "running", "port": port, "pid": 1, "reason": ""}
    assert machine.check_process(row).state == "failed", "nobody answers"
    checks = {"assignment": "ok"}
    server = health.serve(port, lambda: checks)
    try:
        assert machine.check_process(row).state == "ok"
        checks["partitions"] = "3: unknown schema"
        found = machine.check_process(row)
        assert (found.state, found.detail) == ("failed", "not ready: partitions: 3: unknown schema")
    finally:
        server.shutdown()
        server.server_close()
    assert machine.check_process({**row, "state": "stopped"}).state == "warning"


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_broker_that_does_not_answer_is_all_that_is_said() -> None:
    [found] = kafka.check_kafka(KafkaSettings(bootstrap_servers=NOWHERE))
    assert (found.name, found.state) == ("kafka", "failed")


@pytest.mark.stack
def test_topics_that_are_missing_or_wrong(kafka_settings: KafkaSettings) -> None:
    found = by_name(kafka.check_kafka(kafka_settings))
    assert found.keys() == {"kafka", "topics"}
    assert "missing" in found["topics"].detail
    own = own_topics(kafka_settings)
    assert kafka.check_topics(own).state == "ok"


@pytest.mark.stack
@pytest.mark.timeout(120)
def test_lag_of_the_workers(kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = own_topics(kafka_settings)
    assert kafka.check_lag(settings).state == "warning", "no worker ever"
    send(settings, signals(100, "a"))
    with process(["worker"], environment(settings), tmp_path / "worker.log"):
        wait_until(lambda: kafka.check_lag(settings).detail.startswith("0 undecided"), "decided", 60)
    assert kafka.check_lag(settings).state == "ok"
    send(settings, signals(100, "b"))
    monkeypatch.setattr(kafka, "LAG", (50, 100_000))
    assert kafka.check_lag(settings).state == "warning"
    monkeypatch.setattr(kafka, "LAG", (50, 99))
    assert kafka.check_lag(settings).state == "failed"


@pytest.mark.stack
@pytest.mark.parametrize(("ahead_s", "state"), [(0, "ok"), (10, "warning"), (600, "failed")])
def test_a_broker_whose_clock_is_ahead(kafka_settings: KafkaSettings, ahead_s: int, state: str) -> None:
    settings = kafka_settings.model_copy(update={"topic_prefix": f"{kafka_settings.topic_prefix}clock{ahead_s}-"})
    topic = settings.topic("incident-intake")  # with the producer's time, so that the test can set it
    admin = AdminClient(settings.librdkafka())
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    producer = Producer(settings.librdkafka())
    producer.produce(topic, b"-", timestamp=int((time.time() + ahead_s) * 1000))
    assert producer.flush(10) == 0
    assert kafka.check_clock(settings).state == state


def letter(reason: str, state: State, at: int) -> DeadLetter:
    return DeadLetter(Place(0, at), at, reason, "", "t", 0, 1, Original(b"acme", b"", ()), Mark(state))


def test_dead_letters_and_parked_tenants() -> None:
    now = 10 * kafka.HOUR_MS
    assert kafka.check_dead_letters([letter("x", "replayed", now)], now).state == "ok"
    found = kafka.check_dead_letters([letter("x", "waiting", 1), letter("y", "waiting", now)], now)
    assert (found.state, "1 of them came in the last hour" in found.detail) == ("warning", True)
    assert kafka.check_parked([letter("x", "waiting", 1)]).state == "ok"
    assert kafka.check_parked([letter("tenant-parked", "replayed", 1)]).state == "ok"
    parked = kafka.check_parked([letter("tenant-parked", "waiting", 1)])
    assert (parked.state, "acme" in parked.detail) == ("warning", True)


def settings_of(url: str) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url))


def test_a_database_that_does_not_answer_is_all_that_is_said() -> None:
    url = "postgresql://nobody:secret-word@127.0.0.1:1/none"
    [found] = database.check_database(settings_of(url), KafkaSettings(bootstrap_servers=NOWHERE))
    assert (found.name, found.state) == ("postgresql", "failed")
    assert "secret-word" not in found.detail


@pytest.mark.stack
def test_a_database_without_migrations(empty_database_url: str) -> None:
    found = by_name(database.check_database(settings_of(empty_database_url), KafkaSettings(bootstrap_servers=NOWHERE)))
    assert found["postgresql"].state == "ok"
    assert (found["schema"].state, found["schema"].remedy) == ("failed", "incidents migrate")
    assert "outbox" not in found


@pytest.mark.stack
def test_a_database_that_is_right_and_what_can_be_wrong_in_it(
    kafka_settings: KafkaSettings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = own_topics(kafka_settings)
    found = by_name(database.check_database(settings_of(database_url), topics))
    assert {name: finding.state for name, finding in found.items()} == {
        "postgresql": "ok",
        "database-clock": "ok",
        "schema": "ok",
        "roles": "ok",
        "projector-lag": "warning",
        "outbox": "ok",
        "polls": "ok",
    }
    with connect(settings_of(database_url), "owner", name="test", autocommit=True) as connection:
        assert database.check_version(connection, 990_000).state == "failed"
        monkeypatch.setattr(time, "time", lambda: datetime.now(UTC).timestamp() + 60)
        assert database.check_clock(connection).state == "failed"
        monkeypatch.undo()
        insert_intent(connection, timedelta(minutes=5))
        assert database.check_outbox(connection).state == "warning"
        insert_intent(connection, timedelta(hours=1))
        assert database.check_outbox(connection).state == "failed"
        connection.execute("INSERT INTO ops.projection_checkpoints VALUES ('alerts', 1, 'incident-events', 0, 0, 1)")
        assert database.check_projector(connection, topics).state == "ok"
        producer = Producer(topics.librdkafka())
        for _ in range(20):
            producer.produce(topics.topic("incident-events"), b"-", partition=0)
        assert producer.flush(10) == 0
        monkeypatch.setattr(database, "LAG", (10, 100))
        assert database.check_projector(connection, topics).state == "warning"
        away = KafkaSettings(bootstrap_servers=NOWHERE)
        assert "not known" in database.check_projector(connection, away).detail


@pytest.mark.stack
def test_lists_of_tickets_that_are_not_read(database_url: str) -> None:
    with connect(settings_of(database_url), "owner", name="test", autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ops.integrations (integration_id, tenant_id, connector, name, created_at)"
            " VALUES ('int_1', 'acme', 'jira', 'jira', now() - interval '1 day')"
        )
        connection.execute("INSERT INTO ops.polls VALUES ('int_1', 'acme', now(), now(), 0, '')")
        assert database.check_polls(connection).state == "ok"
        connection.execute("UPDATE ops.polls SET failures = 1, last_error = 'HTTP 401'")
        refused = database.check_polls(connection)
        assert (refused.state, "int_1: HTTP 401" in refused.detail) == ("warning", True)
        connection.execute("UPDATE ops.polls SET polled_at = NULL")  # never since it was added
        assert database.check_polls(connection).state == "failed"
        connection.execute("UPDATE ops.integrations SET disabled_at = now()")
        assert database.check_polls(connection).state == "ok"


def insert_intent(connection: psycopg.Connection[Any], age: timedelta) -> None:
    connection.execute(
        "INSERT INTO ops.outbox_events (intent_id, tenant_id, incident_id, connector, integration_id, action,"
        " external_id, idempotency_key, payload, event_id, created_at, next_attempt_at, topic_partition, topic_offset)"
        " VALUES (%s, 'acme', 'i', 'pagerduty', 'int', 'note', '', '', '{}', 'e', now() - %s, now(), 0, 0)",
        (str(age), age),
    )


@pytest.mark.parametrize(
    ("roles", "state"),
    [
        ({"incidents_api": (False, False), "incidents_projector": (False, True)}, "ok"),
        ({"incidents_api": (True, False), "incidents_projector": (False, True)}, "failed"),
        ({"incidents_api": (False, True), "incidents_projector": (False, True)}, "failed"),
        ({"incidents_api": (False, False), "incidents_projector": (False, False)}, "failed"),
        ({"incidents_api": (False, False)}, "failed"),
        ({}, "failed"),
    ],
)
def test_roles(roles: dict[str, tuple[bool, bool]], state: str) -> None:
    assert database.judge_roles(roles).state == state


@pytest.mark.stack
def test_object_storage(object_storage: ObjectStorageSettings) -> None:
    assert database.check_storage(object_storage).state == "ok"
    assert database.check_storage(object_storage.model_copy(update={"bucket": "there-is-none"})).state == "warning"
    away = object_storage.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    assert database.check_storage(away).state == "failed"


@pytest.mark.timeout(120)
def test_the_command_fails_when_a_check_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INCIDENTS_HOME", str(tmp_path))
    monkeypatch.setenv("INCIDENTS_SECRET_KEY", KEY)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", NOWHERE)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    result = CliRunner().invoke(build(), ["doctor", "--json"])
    assert result.exit_code == ExitCode.FAILED
    states = {finding["name"]: finding["state"] for finding in json.loads(result.stdout)}
    assert {name for name, state in states.items() if state == "failed"} >= {"kafka", "postgresql", "object-storage"}
    assert states["process worker"] == "warning"
    shown = CliRunner().invoke(build(), ["doctor"])
    assert "incidents up" in shown.stdout
