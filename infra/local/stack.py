"""The servers as one: up, down and status of a home."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from infra.local import environment
from infra.local.errors import (
    DiskNearlyFull,
    ExternalServerUnreachable,
    RunsElsewhere,
    ServerDied,
    ServerNotHealthy,
)
from infra.local.locks import exclusive
from infra.local.ports import require_free
from infra.local.processes import ProcessRecord, find, last_lines, read_record, start_detached, stop
from infra.local.secret_values import StackSecrets, load_or_make
from infra.local.servers.contract import Server
from infra.local.servers.kafka import KafkaServer
from infra.local.servers.objects import ObjectServer
from infra.local.servers.postgres import PostgresServer
from infra.local.settings import StackSettings

POLL_SECONDS = 0.1
SUPERVISOR = "supervisor"
SUPERVISOR_GRACE_SECONDS = 15.0
PROCESS_GRACE_SECONDS = 8.0

Report = Callable[[str, str], None]  # (name of a server or process, what happens to it now)


@dataclass(frozen=True, slots=True)
class Stack:
    """One home: its settings, its secrets and its servers. Built by `open_stack`."""

    settings: StackSettings
    secret_values: StackSecrets
    servers: tuple[Server, ...]

    @property
    def file_values(self) -> dict[str, str]:
        """What the last `up` wrote."""
        return environment.read(self.settings.environment_file)

    def is_external(self, server: Server) -> bool:
        """Whether the environment names another server than the one that this home started."""
        named = os.environ.get(server.variable, "")
        return bool(named) and named not in {
            self.file_values.get(server.variable),
            server.environment[server.variable],
        }

    def reach(self, server: Server) -> Mapping[str, str]:
        """The variables by which clients reach a server: the environment's, the last `up`'s, or today's settings'."""
        if self.is_external(server):
            return os.environ
        written = self.file_values
        return written if server.variable in written else server.environment


def open_stack(settings: StackSettings | None = None) -> Stack:
    """The stack of a home, with its folders and secrets made; nothing is started."""
    settings = settings or StackSettings()
    settings.make_folders()
    secret_values = load_or_make(settings.home / "secrets.json")
    servers: tuple[Server, ...] = (
        *(KafkaServer(settings, secret_values.secret_key, node) for node in range(1, settings.brokers + 1)),
        PostgresServer(settings, secret_values),
        ObjectServer(settings, secret_values),
    )
    return Stack(settings, secret_values, servers)


def up(stack: Stack, report: Report) -> dict[str, str]:
    """Start what is not running, wait until all answer, write the environment file; returns what it holds.

    Servers that the environment names are only asked. Raises a `StackError` that says what is wrong; what has started
    by then keeps running and the next `up` goes on from there.
    """
    settings = stack.settings
    with exclusive(settings.home / "stack.lock", "up", settings.lock_timeout_seconds):
        _require_space(settings)
        with ThreadPoolExecutor(len(stack.servers)) as pool:
            list(pool.map(lambda server: _bring_up(stack, server, report), stack.servers))
        values = {
            "INCIDENTS_SECRET_KEY": stack.secret_values.secret_key,
            "INCIDENTS_SIGNING_KEY": stack.secret_values.signing_key,
        }
        for server in stack.servers:
            if not stack.is_external(server):
                values.update(server.environment)
        environment.write(settings.environment_file, values)
    return values


def _require_space(settings: StackSettings) -> None:
    free_mb = shutil.disk_usage(settings.home).free // 2**20
    if free_mb < settings.min_free_mb:
        raise DiskNearlyFull(settings.home, free_mb, settings.min_free_mb)


def _bring_up(stack: Stack, server: Server, report: Report) -> None:
    if stack.is_external(server):
        report(server.name, f"asking the one that {server.variable} names")
        reason = server.check(os.environ)
        if reason:
            raise ExternalServerUnreachable(server.name, server.variable, reason)
        report(server.name, "external, answers")
        return
    record = _running_record(stack.settings, server, report)
    if record is None:
        require_free(server.name, server.ports)
        report(server.name, "preparing")
        server.prepare()
        report(server.name, "starting")
        log, pid_file = stack.settings.log_file(server.name), stack.settings.record_file(server.name)
        record = start_detached(server.name, server.launch(), log, pid_file, server.ports[0])
    _wait_until_healthy(stack.settings, server, record)
    server.complete()
    report(server.name, f"running on port {record.port}, pid {record.pid}")


def _running_record(settings: StackSettings, server: Server, report: Report) -> ProcessRecord | None:
    path = settings.record_file(server.name)
    record = read_record(path)
    if record is None:
        return None
    if find(record) is None:
        report(server.name, f"pid {record.pid} of the last start is gone; its pid file is removed")
        path.unlink()
        return None
    if record.port != server.ports[0]:
        raise RunsElsewhere(server.name, record.pid, record.port, server.ports[0])
    return record


def _wait_until_healthy(settings: StackSettings, server: Server, record: ProcessRecord) -> None:
    log, limit = settings.log_file(server.name), settings.start_timeout_seconds
    deadline = time.monotonic() + limit
    while server.check(server.environment):
        if find(record) is None:
            raise ServerDied(server.name, log, last_lines(log))
        if time.monotonic() > deadline:
            raise ServerNotHealthy(server.name, limit, log, last_lines(log))
        time.sleep(POLL_SECONDS)


def down(stack: Stack, report: Report) -> None:
    """Stop every process that has a pid record here: the supervisor, the application, the servers; no process is left.

    Servers that the environment names are not touched. Raises `ServerDoesNotStop`.
    """
    settings = stack.settings
    with exclusive(settings.home / "stack.lock", "down", settings.lock_timeout_seconds):
        _stop_recorded(settings, SUPERVISOR, SUPERVISOR_GRACE_SECONDS, report)
        services = {server.name for server in stack.servers}
        for name in sorted(recorded_names(settings) - services):
            _stop_recorded(settings, name, PROCESS_GRACE_SECONDS, report)
        with ThreadPoolExecutor(len(stack.servers)) as pool:
            list(pool.map(lambda server: _stop_server(settings, server, report), stack.servers))


def _stop_server(settings: StackSettings, server: Server, report: Report) -> None:
    path = settings.record_file(server.name)
    record = read_record(path)
    if record is not None:
        report(server.name, "stopping")
        stop(record, server.stop_grace_seconds, server.stop_signal)
        path.unlink(missing_ok=True)
    report(server.name, "stopped")


def _stop_recorded(settings: StackSettings, name: str, grace_seconds: float, report: Report) -> None:
    path = settings.record_file(name)
    record = read_record(path)
    if record is None:
        return
    report(name, "stopping")
    stop(record, grace_seconds)
    path.unlink(missing_ok=True)
    report(name, "stopped")


def recorded_names(settings: StackSettings) -> set[str]:
    """The names of all pid records of a home."""
    return {path.stem for path in settings.run_dir.glob("*.json")}


def quiet(_name: str, _what: str) -> None:
    """A `Report` that says nothing."""


def unanswered(stack: Stack, servers: Iterable[Server] | None = None) -> dict[str, str]:
    """Which servers give no good answer now, and why."""
    asked = ((server.name, server.check(stack.reach(server))) for server in servers or stack.servers)
    return {name: reason for name, reason in asked if reason}
