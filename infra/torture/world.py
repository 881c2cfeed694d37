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
from infra.local.settings import LOOPBACK, StackSettings
from infra.local.stack import Stack
from infra.torture import checkpoint_moves
from infra.torture.children import ROOT, Children
from infra.torture.proxy import ThreadedProxy, proxied
from infra.torture.tenants import PagerDutyAccount, Tenant, make_tenants
from projections import migrate
from streams.archive.reading import Archive
from streams.archive.settings import ArchiveSettings, SigningSettings
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from streams.runtime.topics import provision

READY_S, START_S = 180.0, 180.0
"""A machine that is busy with other things takes its time."""

NAMED = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "S3_ENDPOINT")
FAKE, FAKE_PORT = "fake-pagerduty", 9199
POSTGRES_PROXY_PORT = 15472
FAKE_TOKEN = "torture-pagerduty-token"  # noqa: S105  of the fake on this machine
FAKE_EMAIL = "incidents@example.org"
TENANTS = ("amber", "birch", "delta", "ember", "lotus", "pearl")  # every partition has one of them
PROCESSES = (
    *("worker", "worker", "projector", "projector", "dispatcher", "dispatcher", "scheduler"),
    *("archiver", "archiver", "poller", "simulator", "api"),
)
"""Two of what shares work, so that somebody can take over while a zombie sleeps."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a run acts on; built by `build`.

    The application reaches Kafka and PostgreSQL through ``ways`` (by server name), the harness itself directly.
    """

    settings: StackSettings
    stack: Stack
    kafka: KafkaSettings
    database: DatabaseSettings
    ways: Mapping[str, ThreadedProxy]
    children: Children
    tenants: list[Tenant]
    base_url: str
    fake_url: str
    archive: Archive
    signing: SigningSettings

    @property
    def brokers(self) -> list[str]:
        """The names of the Kafka nodes."""
        return [server.name for server in self.stack.servers if server.name.startswith("kafka")]

    def kill_server(self, name: str) -> None:
        """SIGKILL to a server; `start_servers` brings it back."""
        record = read_record(self.settings.record_file(name))
        process = find(record) if record is not None else None
        if process is not None:
            process.kill()
            process.wait(10)
        if name in self.ways:
            self.ways[name].cut()  # nobody listens there, and clients back off as they would without a proxy

    def start_servers(self) -> None:
        """Start whatever server is not running, and wait until it answers."""
        local_stack.up(self.stack, local_stack.quiet)
        for way in self.ways.values():
            way.mend()


def build(home: Path, held: ExitStack, report: Report, *, brokers: int = 1, planted: tuple[str, ...] = ()) -> World:
    """Start everything in a home of its own; all of it ends when ``held`` closes. Raises ``StackError``.

    Servers that the environment names are not used: nobody wants those broken.
    """
    for variable in NAMED:
        os.environ.pop(variable, None)
    settings = StackSettings(home=home, brokers=brokers, kafka_proxied=True, start_timeout_seconds=START_S)
    stack = local_stack.open_stack(settings)
    local_stack.down(stack, local_stack.quiet)  # of a run that was killed
    for server in stack.servers:
        shutil.rmtree((settings.home / server.name).resolve(), ignore_errors=True)
    report("starting the servers")
    held.callback(local_stack.down, stack, local_stack.quiet)
    values = local_stack.up(stack, local_stack.quiet)
    kafka = KafkaSettings(
        bootstrap_servers=values["KAFKA_BOOTSTRAP_SERVERS"],
        replication_factor=int(values.get("KAFKA_REPLICATION_FACTOR", "1")),
        min_insync_replicas=int(values.get("KAFKA_MIN_INSYNC_REPLICAS", "1")),
    )
    database = DatabaseSettings(url=SecretStr(values["DATABASE_URL"]))
    report("database and topics")
    migrate.upgrade(database)
    checkpoint_moves.install(database)
    provision(kafka)
    ways = _open_ways(settings, held)
    _start_fake(settings)
    base_url = f"http://{LOOPBACK}:{settings.port(settings.api_port)}"
    fake_url = f"http://{LOOPBACK}:{settings.port(FAKE_PORT)}"
    account = PagerDutyAccount(fake_url, FAKE_TOKEN, FAKE_EMAIL)
    tenants = make_tenants(TENANTS, database, SecretStr(values["INCIDENTS_SECRET_KEY"]), account)
    children = Children(settings, _environment(settings, values, ways, base_url), planted)
    held.callback(children.close)
    archive = Archive(_storage(values), ArchiveSettings().prefix(kafka.topic_prefix))
    signing = SigningSettings(signing_key=SecretStr(values["INCIDENTS_SIGNING_KEY"]))
    world = World(settings, stack, kafka, database, ways, children, tenants, base_url, fake_url, archive, signing)
    report("starting the application")
    for kind in PROCESSES:
        children.add(kind)
    children.watch()
    _wait_until_ready(world)
    return world


def _open_ways(settings: StackSettings, held: ExitStack) -> dict[str, ThreadedProxy]:
    """A proxy for each broker's second listener and for PostgreSQL."""
    ways = {}
    for node in range(1, settings.brokers + 1):
        name = "kafka" if node == 1 else f"kafka-{node}"
        ways[name] = held.enter_context(
            proxied(LOOPBACK, settings.broker_ports(node)[2], settings.broker_proxy_port(node))
        )
    port = settings.port(settings.postgres_port)
    ways["postgres"] = held.enter_context(proxied(LOOPBACK, port, settings.port(POSTGRES_PROXY_PORT)))
    return ways


def _environment(
    settings: StackSettings, values: Mapping[str, str], ways: Mapping[str, ThreadedProxy], base_url: str
) -> dict[str, str]:
    """What the application's processes get: as `up` wrote it, with the proxies in the servers' places."""
    brokers = ",".join(f"{LOOPBACK}:{way.port}" for name, way in ways.items() if name != "postgres")
    direct, through = settings.port(settings.postgres_port), ways["postgres"].port
    return {
        **values,
        "KAFKA_BOOTSTRAP_SERVERS": brokers,
        "DATABASE_URL": values["DATABASE_URL"].replace(f":{direct}/", f":{through}/"),
        "INCIDENTS_HOME": str(settings.home),
        "INCIDENTS_PUBLIC_URL": base_url,
        "INCIDENTS_ALLOW_LOOPBACK_PROVIDERS": "true",
        "INCIDENTS_ARCHIVE_INTERVAL_S": "3",
        "INCIDENTS_ARCHIVE_CHECKPOINT_S": "5",
    }


def _storage(values: Mapping[str, str]) -> ObjectStorage:
    settings = ObjectStorageSettings(
        endpoint=values["S3_ENDPOINT"],
        access_key=values["S3_ACCESS_KEY"],
        secret_key=SecretStr(values["S3_SECRET_KEY"]),
    )
    return ObjectStorage(settings)


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
