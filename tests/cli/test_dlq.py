"""`incidents dlq` and `incidents tenant` on real Kafka and PostgreSQL, called as an operator calls them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer
from psycopg.types.json import Jsonb
from typer.testing import CliRunner, Result

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.main import build
from connectors.alertmanager.inbound import AlertmanagerReceives
from connectors.kit.contract import Delivery, Integration
from connectors.kit.intake import misunderstood
from infra.fakes.alertmanager.deliveries import PrometheusAlert, webhook
from streams.codec import cloudevents
from streams.domain.signals import Signal
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, read_topic, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

TENANT = "tenant-0"
AT = "2026-11-22T10:00:00Z"


@pytest.fixture
def settings(
    kafka_settings: KafkaSettings, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> KafkaSettings:
    """Topics of this test alone, which the commands reach by their environment."""
    own = own_topics(kafka_settings)
    monkeypatch.setenv("INCIDENTS_HOME", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", own.bootstrap_servers)
    monkeypatch.setenv("KAFKA_TOPIC_PREFIX", own.topic_prefix)
    monkeypatch.setenv("DATABASE_URL", database_url)
    return own


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build(), arguments)


def answer(*arguments: str) -> Any:
    """The JSON that a command prints; it must succeed."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def refusal(*arguments: str) -> CommandError:
    error = run(*arguments).exception
    assert isinstance(error, CommandError)
    return error


def send_garbage(settings: KafkaSettings, count: int) -> None:
    """Messages of the tenant whose data is no Avro datum of their type."""
    [(envelope, data)] = signals(1, "garbage", tenants=1)
    producer = Producer(settings.librdkafka() | {"partitioner": "murmur2_random"})
    for n in range(count):
        _, headers = cloudevents.encode(replace(envelope, id=f"garbage-{n}"), data)
        producer.produce(settings.topic("incident-intake"), key=TENANT.encode(), value=b"\xff", headers=headers)
    assert producer.flush(30) == 0


def test_a_parked_tenant_is_released_and_gets_what_it_missed(settings: KafkaSettings, tmp_path: Path) -> None:
    send_garbage(settings, 50)
    send(settings, signals(5, "good", tenants=1))
    with process(["worker"], environment(settings), tmp_path / "worker.log"):
        wait_until(lambda: len(answer("dlq", "list", "--reason", "tenant-parked")) == 5, "five held back", 60)
        assert len(answer("dlq", "list", "--limit", "10")) == 10
        assert answer("dlq", "list", "--tenant", "somebody-else") == []
        assert answer("tenant", "release", TENANT)["tenant"] == TENANT
        dry = answer("dlq", "replay", "--all", "--reason", "tenant-parked", "--dry-run")
        assert len(dry["would_be_replayed"]) == 5
        assert len(answer("dlq", "list", "--state", "waiting")) == 55
        done = answer("dlq", "replay", "--all", "--reason", "tenant-parked", "--yes")
        assert done == {"replayed": dry["would_be_replayed"], "failed": {}}
        wait_until(lambda: check_record(settings).kinds["AlertsAttached"], "taken after all", 30)
        wait_until(lambda: len({d for d in check_record(settings).deliveries if "good" in d[1]}) == 5, "all five", 30)
    assert {row["state"] for row in answer("dlq", "list", "--reason", "tenant-parked")} == {"replayed"}
    assert answer("dlq", "replay", "--all", "--reason", "tenant-parked", "--yes") == {"replayed": [], "failed": {}}


def test_release_says_when_nobody_answers(settings: KafkaSettings) -> None:
    assert settings.topic_prefix
    error = refusal("tenant", "release", TENANT, "--timeout", "1")
    assert "is a worker running?" in str(error)
    assert error.code == ExitCode.FAILED


def integration(database_url: str, **config: Any) -> Integration:
    found = Integration("int_test", TENANT, "alertmanager", "", config)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ops.integrations (integration_id, tenant_id, connector, name, config, created_at)"
            " VALUES (%s, %s, %s, '', %s, now()) ON CONFLICT DO NOTHING",
            (found.integration_id, TENANT, found.connector, Jsonb(config)),
        )
    return found


def test_a_fixed_connector_understands_what_waited(settings: KafkaSettings, database_url: str, tmp_path: Path) -> None:
    source = integration(database_url)
    body, _ = webhook([PrometheusAlert({"alertname": "HighLatency", "job": "checkout"}, AT)], secret="-")
    late = misunderstood(source, "was-misread", body, "an older version could not read this")
    wrong = misunderstood(source, "is-wrong", b'{"alerts": 7}', "no list of alerts")
    send(settings, [late, wrong])
    with process(["worker"], environment(settings), tmp_path / "worker.log"):
        wait_until(lambda: len(answer("dlq", "list")) == 2, "both dead-lettered", 60)
    first, second = (row["place"] for row in answer("dlq", "list"))
    assert answer("dlq", "show", first)["data"]["problem"] == "an older version could not read this"
    result = run("dlq", "replay", first, second, "--json")
    assert result.exit_code == ExitCode.FAILED
    report = json.loads(result.stdout)
    assert report["replayed"] == [first]
    assert "no list of alerts" in report["failed"][second]
    *_, last = read_topic(settings, "incident-intake")
    envelope, data = cloudevents.decode(last.headers, last.value)
    [(expected, parsed)] = AlertmanagerReceives().parse(source, Delivery(body, {}), json.loads(body))
    assert (envelope.id, envelope.source, data) == (expected.id, expected.source, parsed)
    assert isinstance(data, Signal)
    assert answer("dlq", "drop", second, "--yes")["dropped"] == [second]
    assert [row["state"] for row in answer("dlq", "list")] == ["replayed", "dropped"]
    assert answer("dlq", "list", "--since", "1h", "--state", "dropped")[0]["handled_by"].startswith("operator:")
    again = run("dlq", "replay", first, second, "--json")
    assert list(json.loads(again.stdout)["failed"]) == [first, second]


def test_what_is_wrong_with_the_command_is_said(settings: KafkaSettings) -> None:
    assert settings.topic_prefix
    assert refusal("dlq", "show", "0:0").code == ExitCode.NOT_FOUND
    assert refusal("dlq", "show", "first").code == ExitCode.USAGE
    assert refusal("dlq", "replay").code == ExitCode.USAGE
    assert refusal("dlq", "replay", "0:0", "--all").code == ExitCode.USAGE
    assert refusal("dlq", "list", "--since", "yesterday").code == ExitCode.USAGE
    assert run("dlq", "drop", "0:0", "--help").exit_code == 0


def test_an_envelope_without_a_tenant_of_ours_is_shown_as_it_is(settings: KafkaSettings, tmp_path: Path) -> None:
    producer = Producer(settings.librdkafka())
    producer.produce(settings.topic("incident-intake"), key=b"\xff", value=b"\x00\xfe", headers=[("x", b"\xff")])
    assert producer.flush(30) == 0
    with process(["worker"], environment(settings), tmp_path / "worker.log"):
        wait_until(lambda: answer("dlq", "list"), "dead-lettered", 60)
    (row,) = answer("dlq", "list")
    details = answer("dlq", "show", row["place"])
    assert details["raw"] == "base64:AP4="
    assert details["data"].startswith("cannot be read")
    assert run("dlq", "show", row["place"]).exit_code == 0
