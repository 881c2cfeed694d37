"""A cluster is destroyed under load and restored from its archive by the commands that an operator would give."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import orjson
import pytest

from infra.local import stack as local_stack
from infra.local.ports import is_free
from infra.local.stack import Stack
from streams.domain.envelope import rfc3339
from streams.runtime.settings import KafkaSettings
from tests.archive.conftest import contents
from tests.harness.own_stack import own_stack
from tests.harness.stack import ROOT
from tests.harness.waiting import wait_until
from tests.harness.workers import process

pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(300)]
PROCESSES = ("worker", "projector", "dispatcher", "scheduler", "api")
TENANT = "acme"


class Site:
    """One installation: its servers, its environment and its commands."""

    def __init__(self, stack: Stack, logs: Path) -> None:
        self.stack, self.logs = stack, logs
        self.env: dict[str, str] = {}
        self.api_port = next(port for port in range(29_600, 29_900) if is_free(port))

    def up(self) -> None:
        self.env = {
            **os.environ,
            **local_stack.up(self.stack, local_stack.quiet),
            "INCIDENTS_HOME": str(self.stack.settings.home),
            "INCIDENTS_API_PORT": str(self.api_port),
            "INCIDENTS_ARCHIVE_INTERVAL_S": "2",
            "INCIDENTS_ARCHIVE_OPERATIONS_S": "2",
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *arguments: str) -> str:
        """A command that must succeed; its standard output."""
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Processes of the application, killed at the end."""
        with ExitStack() as held:
            for name in names:
                held.enter_context(process([name], self.env, self.logs / f"{name}.log"))
            yield

    def client(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.api_port}", headers={"Authorization": f"Bearer {token}"})

    def destroy(self) -> None:
        """Kafka and PostgreSQL with all their data; object storage stays."""
        home = self.stack.settings.home
        local_stack.down(self.stack, local_stack.quiet)
        shutil.rmtree((home / "postgres").resolve() / "data")
        shutil.rmtree(home / "kafka" / "data")

    @property
    def kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.env["KAFKA_BOOTSTRAP_SERVERS"])


def alert(number: int) -> dict[str, object]:
    """A CloudEvent of one of five services."""
    data = {"title": "High latency", "fingerprint": f"fp-{number}", "service": f"s-{number % 5}", "error_type": "slow"}
    attributes = {"specversion": "1.0", "source": "/load", "type": "com.incidents.signal.v1"}
    return {**attributes, "id": f"load-{number}", "datacontenttype": "application/json", "data": data}


def send(client: httpx.Client, numbers: range) -> None:
    """One alert a request; each is acknowledged."""
    for number in numbers:
        answer = client.post(
            "/api/v1/events",
            content=orjson.dumps(alert(number)),
            headers={"Content-Type": "application/cloudevents+json"},
        )
        assert answer.status_code == 202, answer.text


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def timeline(client: httpx.Client) -> int:
    """How many incidents the API shows."""
    return len(client.get("/api/v1/incidents").json()["items"])


def test_a_destroyed_cluster_comes_back_with_equal_digests(tmp_path: Path) -> None:
    with own_stack() as stack:
        site = Site(stack, tmp_path)
        site.up()
        site.run("topics")
        site.run("migrate")
        token = orjson.loads(site.run("token", "create", "--tenant", TENANT, "--role", "admin", "--json"))["token"]
        with site.client(token) as client:
            acknowledged, lost_at, before = _lose(site, client)
            site.up()
            site.run("topics")
            site.run("migrate")
            command = ("archive", "restore", "--yes", "--json", "--lost-at", rfc3339(lost_at))
            done = orjson.loads(site.run(*command))
            assert done["loss_window_s"] <= 60
            after = contents(site.kafka, "incident-events")
            for partition, events in after.items():
                was = [event[:3] for event in before.get(partition, [])]
                assert [event[:3] for event in events] == was[: len(events)]
            with site.running(*PROCESSES, "archiver"):
                wait_until(lambda: ready(client), "the API is ready", 60)
                wait_until(lambda: timeline(client) == 5, "the token works and the incidents are shown", 60)
                send(client, range(acknowledged, acknowledged + 50))
                wait_until(lambda: _whole(site), "everything agrees", 60, every=2)
            print(f"RPO {done['loss_window_s']:.1f} s, restore {done['seconds']:.1f} s")  # noqa: T201  the measured figures


def _lose(site: Site, client: httpx.Client) -> tuple[int, int, dict[int, list[tuple[object, ...]]]]:
    """Run under load, then destroy everything but the archive: acknowledged alerts, the moment, the record then."""
    stop, sent = threading.Event(), [0]

    def load() -> None:
        while not stop.is_set():
            send(client, range(sent[0], sent[0] + 5))
            sent[0] += 5
            stop.wait(0.1)

    with site.running(*PROCESSES, "archiver"):
        wait_until(lambda: ready(client), "the API is ready", 60)
        thread = threading.Thread(target=load)
        thread.start()
        wait_until(lambda: _archived(site) > 200, "some of the load is archived", 60)
        stop.set()
        thread.join()
        lost_at = time.time_ns() // 1_000_000
    before = contents(site.kafka, "incident-events")
    site.destroy()
    return sent[0], lost_at, before


def _archived(site: Site) -> int:
    """How many records are archived, once a first round is complete."""
    found = orjson.loads(site.run("archive", "list", "--json"))
    return sum(one["records"] for one in found["partitions"]) if found["complete_until"] else 0


def _whole(site: Site) -> bool:
    """Log, rows, state and archive agree, and deciding again gives the same bytes."""
    command = [sys.executable, "-m", "cli.main", "verify", "--decisions", "--json"]
    done = subprocess.run(command, env=site.env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    found = orjson.loads(done.stdout)
    return bool(found["whole"]) and found["decisions"]["events"] > 0
