"""The real stack on this machine: servers, processes of the application and tenants, all of it gone at the end."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pydantic import SecretStr

from bench import cpu
from infra.local import stack as local_stack
from infra.local.ports import is_free
from infra.local.settings import LOOPBACK, StackSettings
from infra.local.status import status
from infra.torture.tenants import PagerDutyAccount, Tenant, make_tenants
from projections import migrate
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision

ROOT = Path(__file__).resolve().parents[1]
READY_S, STOP_S = 600.0, 15.0
EVERYTHING = ("worker", "projector", "dispatcher", "scheduler", "archiver", "api")
TENANTS = ("amber", "frost", "delta", "lotus", "maple", "ember", "acorn", "pearl")  # two on each of four partitions


@dataclass(slots=True)
class World:
    """Everything that a part of the bench acts on."""

    settings: StackSettings
    kafka: KafkaSettings
    database: DatabaseSettings
    values: dict[str, str]
    servers: dict[str, int]
    tenants: list[Tenant] = field(default_factory=list)
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def pids(self) -> dict[str, list[int]]:
        """Of each server, and of each kind of process of the application."""
        found: dict[str, list[int]] = {name: [pid] for name, pid in self.servers.items()}
        for name, child in self.children.items():
            found.setdefault(name.partition("-")[0], []).append(child.pid)
        return found

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far by kind of process."""
        return cpu.seconds(self.pids)

    @property
    def api_ports(self) -> list[int]:
        """Where the API's processes listen."""
        return [port for name, port in self.ports.items() if name.startswith("api")]

    def start(self, kinds: Sequence[str], **environment: str) -> None:
        """Start processes, one for each name in ``kinds``, and wait until each says that it is ready."""
        new = [self._start(kind, environment) for kind in kinds]
        for name in new:
            self._wait_ready(name)

    def kill(self, kind: str) -> None:
        """SIGKILL to the processes of a kind."""
        for name in [name for name in self.children if name.partition("-")[0] == kind]:
            child = self.children.pop(name)
            self.ports.pop(name)
            child.kill()
            child.wait()

    def stop(self, kinds: Sequence[str] = ()) -> None:
        """End the processes of these kinds (all, where none is named)."""
        chosen = [name for name in self.children if not kinds or name.partition("-")[0] in kinds]
        for name in chosen:
            self.children[name].terminate()
        for name in chosen:
            child = self.children.pop(name)
            self.ports.pop(name)
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _start(self, kind: str, environment: dict[str, str]) -> str:
        number = sum(name.partition("-")[0] == kind for name in self.children)
        name = f"{kind}-{number}"
        port = self._free_port()
        variable = "INCIDENTS_API_PORT" if kind == "api" else "INCIDENTS_METRICS_PORT"
        slot = ("--slot", str(number)) if kind in {"worker", "projector"} else ()
        with (self.settings.log_dir / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, "-m", "cli.main", kind, *slot],
                cwd=ROOT,
                env={**os.environ, **self.values, variable: str(port), **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self.ports[name] = port
        return name

    def _free_port(self) -> int:
        first = self.settings.port(self.settings.api_port)
        return next(port for port in range(first, first + 90) if port not in self.ports.values() and is_free(port))

    def _wait_ready(self, name: str) -> None:
        url, deadline = f"http://{LOOPBACK}:{self.ports[name]}/health/ready", time.monotonic() + READY_S
        while not _answers(url):
            if self.children[name].poll() is not None or time.monotonic() > deadline:
                log = (self.settings.log_dir / f"{name}.log").read_text(errors="replace")
                raise SystemExit(f"{name} is not ready; its log ends:\n{log[-3000:]}")
            time.sleep(0.1)


@contextmanager
def world(kinds: Sequence[str] = EVERYTHING, **environment: str) -> Iterator[World]:
    """A stack of its own with these processes of the application running; ``environment`` is added to theirs."""
    (ROOT / ".incidents").mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / ".incidents"))
    home.chmod(0o755)  # PostgreSQL runs as another user where this runs as root
    settings = StackSettings(home=home, port_offset=free_offset(), start_timeout_seconds=READY_S)
    stack = local_stack.open_stack(settings)
    with ExitStack() as held:
        held.callback(_remove, home)
        held.callback(local_stack.down, stack, local_stack.quiet)
        values = local_stack.up(stack, local_stack.quiet)
        kafka = KafkaSettings(bootstrap_servers=values["KAFKA_BOOTSTRAP_SERVERS"])
        database = DatabaseSettings(url=SecretStr(values["DATABASE_URL"]))
        migrate.upgrade(database)
        provision(kafka)
        servers = {str(row["name"]): int(str(row["pid"])) for row in status(stack)["services"] if row["pid"]}
        found = World(settings, kafka, database, {**values, "INCIDENTS_HOME": str(home)}, servers)
        account = PagerDutyAccount(f"http://{LOOPBACK}:9", "nobody-listens", "incidents@example.org")
        found.tenants = make_tenants(TENANTS, database, SecretStr(values["INCIDENTS_SECRET_KEY"]), account)
        held.callback(found.stop)
        found.start(kinds, **environment)
        yield found


def _remove(home: Path) -> None:
    shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def free_offset() -> int:
    """A port offset at which nothing of a stack is taken; by chance, since others may look at the same moment."""
    below_outgoing = range(1_000, 13_000, 100)  # with more, an outgoing connection may hold a port
    for offset in random.sample(below_outgoing, len(below_outgoing)):
        if all(map(is_free, StackSettings(port_offset=offset).all_ports())):
            return offset
    raise SystemExit("no range of free ports was found")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False
