"""`incidents integration` and `incidents dispatcher` as processes, as an administrator and a supervisor run them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from infra.local.ports import is_free
from streams.domain.envelope import derive_id
from streams.runtime.settings import KafkaSettings
from streams.runtime.topics import provision

pytestmark = [pytest.mark.stack]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment(
    database_url: str, kafka_settings: KafkaSettings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the commands find their servers by."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_settings.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka_settings.topic_prefix,
        "INCIDENTS_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "INCIDENTS_HOME": str(tmp_path_factory.mktemp("home")),
        "INCIDENTS_ALLOW_LOOPBACK_PROVIDERS": "1",
        "INCIDENTS_DISPATCHER_LEASE_S": "1.5",
        "INCIDENTS_DISPATCHER_POLL_S": "0.3",
    }


def run(environment: dict[str, str], *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(
        command, env=environment, input=given, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def free_port() -> int:
    """A port of this part's range that is free now."""
    return next(port for port in range(23100, 23999) if is_free(port))


@contextmanager
def process(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the block, killed at its end."""
    started = subprocess.Popen([sys.executable, "-m", *arguments], env=environment, cwd=ROOT)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def fake_pagerduty(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """The fake as a process; its URL."""
    port = free_port()
    with process(environment, "infra.fakes.pagerduty", "--port", str(port), "--folder", str(folder)):
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/_effects"))
        yield url


def answers(url: str) -> bool:
    """Whether a URL answers 200."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_an_integration_through_its_life(environment: dict[str, str]) -> None:
    added = run(environment, "integration", "add", "alertmanager", "--tenant", "acme", "--name", "prod", "--json")
    assert added.returncode == 0, added.stderr
    document = json.loads(added.stdout)
    assert set(document) == {"integration_id", "webhook_url", "secret"}
    one = document["integration_id"]
    assert document["webhook_url"] == f"http://127.0.0.1:8080/api/v1/webhooks/alertmanager/{one}"

    [listed] = json.loads(run(environment, "integration", "list", "--tenant", "acme", "--json").stdout)
    assert (listed["integration_id"], listed["name"], listed["secrets"]) == (one, "prod", 1)
    rotated = json.loads(run(environment, "integration", "rotate", one, "--json").stdout)
    assert rotated["secret"] not in {"", document["secret"]}
    assert json.loads(run(environment, "integration", "list", "--tenant", "acme", "--json").stdout)[0]["secrets"] == 2
    assert json.loads(run(environment, "integration", "disable", one, "--json").stdout)["state"] == "disabled"
    again = run(environment, "integration", "disable", one)
    assert (again.returncode, "no active integration" in again.stderr) == (6, True)
    people = run(environment, "integration", "list")
    assert document["secret"] not in people.stdout + people.stderr + again.stderr


def test_a_providers_own_secret_is_read_from_standard_input(environment: dict[str, str]) -> None:
    arguments = ("integration", "add", "pagerduty", "--tenant", "acme", "--json")
    refused = run(environment, *arguments)
    assert (refused.returncode, "issues the webhook secret" in refused.stderr) == (6, True)
    added = run(environment, *arguments, "--secret-file", "-", given="issued by them\n")
    assert json.loads(added.stdout)["secret"] == "issued by them"


def test_what_goes_wrong_has_a_message_and_a_code(environment: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "config.json"
    broken.write_text("{")
    add = ("integration", "add", "alertmanager", "--tenant", "acme")
    no_key = {**environment, "INCIDENTS_SECRET_KEY": ""}
    no_database = {**environment, "DATABASE_URL": "postgresql://incidents@127.0.0.1:9/incidents"}
    for variables, arguments, code, message in (
        (environment, ("integration", "add", "nobody", "--tenant", "acme"), 7, "no connector nobody"),
        (environment, (*add, "--config", str(broken)), 2, "cannot read"),
        (environment, (*add, "--secret-file", str(tmp_path / "none")), 2, "cannot read"),
        (no_key, add, 2, "INCIDENTS_SECRET_KEY is not set"),
        (no_database, add, 3, "PostgreSQL does not answer"),
    ):
        found = run(variables, *arguments)
        assert (found.returncode, message in found.stderr) == (code, True), found.stderr
        assert "Traceback" not in found.stderr


def test_a_dispatcher_killed_after_the_call_leaves_one_note(
    environment: dict[str, str], database_url: str, kafka_settings: KafkaSettings, tmp_path: Path
) -> None:
    provision(kafka_settings)
    with fake_pagerduty(environment, tmp_path) as url:
        one = _pagerduty(environment, tmp_path, url)
        intent_id = _intend(database_url, one)
        httpx.post(f"{url}/_faults", json={"kind": "slow", "seconds": 30}).raise_for_status()

        with process(environment, "cli.main", "dispatcher") as first:
            until(lambda: _effects(url) == {"note": 1})  # the note is there, and the answer is not
            first.send_signal(signal.SIGKILL)
            first.wait()
        assert _row(database_url, intent_id)[0] == "pending"

        port = free_port()
        with process({**environment, "INCIDENTS_METRICS_PORT": str(port)}, "cli.main", "dispatcher") as second:
            until(lambda: _row(database_url, intent_id)[0] == "delivered")
            until(lambda: answers(f"http://127.0.0.1:{port}/health/ready"))
            assert "incidents_dispatcher_attempts_total" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
            second.send_signal(signal.SIGTERM)
            assert second.wait(10) == 0
        assert _effects(url) == {"note": 1}
        assert _row(database_url, intent_id) == ("delivered", 2)


def _pagerduty(environment: dict[str, str], folder: Path, url: str) -> str:
    config, token = folder / "config.json", folder / "token"
    config.write_text(json.dumps({"api_url": url}))
    token.write_text("an-api-token")
    added = run(
        environment,
        *("integration", "add", "pagerduty", "--tenant", "acme", "--secret-file", "-", "--config", str(config)),
        *("--api-token-file", str(token), "--json"),
        given="issued by them",
    )
    return str(json.loads(added.stdout)["integration_id"])


def _intend(database_url: str, integration_id: str) -> str:
    intent_id = derive_id("test", integration_id)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO ops.outbox_events (intent_id, tenant_id, incident_id, connector, integration_id, action,"
            " external_id, idempotency_key, payload, event_id, created_at, next_attempt_at, topic_partition,"
            " topic_offset) VALUES (%s, 'acme', 'inc', 'pagerduty', %s, 'note', 'PINC1', %s, '{\"text\": \"t\"}', 'e',"
            " now(), now(), 0, 1)",
            (intent_id, integration_id, intent_id),
        )
    return intent_id


def _row(database_url: str, intent_id: str) -> tuple[str, int]:
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT state, attempts FROM ops.outbox_events WHERE intent_id = %s", (intent_id,))
        row = found.fetchone()
    assert row is not None
    return row


def _effects(url: str) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{url}/_effects").json()["effects"]
    return found
