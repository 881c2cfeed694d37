"""The world under test: servers, a PagerDuty to act on, the application's processes, and tenants to write to."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from infra.local import stack as local_stack
from infra.local.errors import StackError
from infra.local.ports import require_free
from infra.local.processes import Launch, find, read_record, start_detached
from infra.local.settings import StackSettings
from infra.local.stack import Stack
from infra.torture.children import ROOT, Children
from infra.torture.tenants import PagerDutyAccount, Tenant, make_tenants
from projections import migrate
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision

READY_S = 60.0
NAMED = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "S3_ENDPOINT")
FAKE, FAKE_PORT = "fake-pagerduty", 9199
FAKE_TOKEN = "torture-pagerduty-token"  # noqa: S105  of the fake on this machine
FAKE_EMAIL = "incidents@example.org"
TENANTS = ("amber", "birch", "coral", "delta", "ember", "frost")
PROCESSES = ("worker", "worker", "projector", "projector", "dispatcher", "dispatcher", "scheduler", "api")
"""Two of what shares work, so that somebody can take over while a zombie sleeps."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a run acts on; built by `build`."""

    settings: StackSettings
    stack: Stack
    kafka: KafkaSettings
    database: DatabaseSettings
    children: Children
    tenants: list[Tenant]
    base_url: str
    fake_url: str

    def kill_server(self, name: str) -> None:
        """SIGKILL to kafka, postgres or objects; `start_servers` brings it back."""
        record = read_record(self.settings.record_file(name))
        process = find(record) if record is not None else None
        if process is not None:
            process.kill()
            process.wait(10)

    def start_servers(self) -> None:
        """Start whatever server is not running, and wait until it answers."""
        local_stack.up(self.stack, local_stack.quiet)

    def folder(self, name: str) -> Path:
        """A folder of the harness in the world's home."""
        path = self.settings.home / "torture" / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def build(home: Path, held: ExitStack, report: Report, environment: Mapping[str, str] | None = None) -> World:
    """Start everything in a home of its own; all of it ends when ``held`` closes. Raises ``StackError``.

    Servers that the environment names are not used: nobody wants those broken.
    """
    for variable in NAMED:
        os.environ.pop(variable, None)
    settings = StackSettings(home=home)
    stack = local_stack.open_stack(settings)
    local_stack.down(stack, local_stack.quiet)  # of a run that was killed
    for server in ("kafka", "postgres", "objects"):
        shutil.rmtree((settings.home / server).resolve(), ignore_errors=True)
    report("starting the servers")
    held.callback(local_stack.down, stack, local_stack.quiet)
    values = local_stack.up(stack, local_stack.quiet)
    kafka = KafkaSettings(bootstrap_servers=values["KAFKA_BOOTSTRAP_SERVERS"])
    database = DatabaseSettings(url=SecretStr(values["DATABASE_URL"]))
    report("database and topics")
    migrate.upgrade(database)
    provision(kafka)
    base_url = f"http://127.0.0.1:{settings.port(settings.api_port)}"
    fake_url = f"http://127.0.0.1:{settings.port(FAKE_PORT)}"
    own = {
        **values,
        "INCIDENTS_HOME": str(settings.home),
        "INCIDENTS_PUBLIC_URL": base_url,
        "INCIDENTS_ALLOW_LOOPBACK_PROVIDERS": "true",
        **(environment or {}),
    }
    _start_fake(settings)
    tenants = make_tenants(
        TENANTS, database, SecretStr(values["INCIDENTS_SECRET_KEY"]), PagerDutyAccount(fake_url, FAKE_TOKEN, FAKE_EMAIL)
    )
    children = Children(settings, own)
    held.callback(children.close)
    world = World(settings, stack, kafka, database, children, tenants, base_url, fake_url)
    report("starting the application")
    for kind in PROCESSES:
        children.add(kind)
    children.watch()
    _wait_until_ready(world)
    return world


def _start_fake(settings: StackSettings) -> None:
    """The PagerDuty to act on, with its state in memory: it is not what is tortured. `down` ends it too."""
    port = settings.port(FAKE_PORT)
    require_free(FAKE, (port,))
    command = [sys.executable, "-m", "infra.fakes.pagerduty", "--port", str(port)]
    command += ["--token", FAKE_TOKEN, "--from-email", FAKE_EMAIL]
    log, record = settings.log_file(FAKE), settings.record_file(FAKE)
    start_detached(FAKE, Launch(command, cwd=ROOT), log, record, port)


def _wait_until_ready(world: World) -> None:
    children = world.children
    urls = [f"{world.fake_url}/_effects"]
    for kind in dict.fromkeys(PROCESSES):
        urls += [f"http://127.0.0.1:{children.port(name)}/health/ready" for name in children.names(kind)]
    deadline = time.monotonic() + READY_S
    for url in urls:
        while not _answers(url):
            if time.monotonic() > deadline:
                raise StackError(f"{url} is not ready after {READY_S:.0f} s; the logs are in {world.settings.log_dir}")
            time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False
