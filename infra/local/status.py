"""What runs: one row for each server of the stack and each process of the application."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypedDict

from infra.local.processes import find, read_record, resident_bytes
from infra.local.servers.contract import Server
from infra.local.stack import Stack
from infra.local.supervisor import PROCESSES

State = Literal["running", "unhealthy", "stopped", "restarting", "external", "unreachable"]


@dataclass(frozen=True, slots=True)
class Row:
    """One server or process.

    ``rss_bytes`` is the memory of its process and their children (proportional where the kernel tells it, so that
    shared buffers count once). ``external`` and ``unreachable`` are said of servers that the environment names.
    """

    name: str
    pid: int | None
    port: int | None
    state: State
    rss_bytes: int | None
    restarts: int = 0
    reason: str = ""


class Status(TypedDict):
    """What `incidents status --json` prints."""

    services: list[dict[str, object]]
    processes: list[dict[str, object]]


def status(stack: Stack) -> Status:
    """The state of a home now."""
    return {
        "services": [asdict(_service(stack, server)) for server in stack.servers],
        "processes": [asdict(_process(stack, spec.name)) for spec in PROCESSES],
    }


def _service(stack: Stack, server: Server) -> Row:
    if stack.is_external(server):
        reason = server.check(stack.reach(server))
        return Row(server.name, None, None, "unreachable" if reason else "external", None, reason=reason)
    record = read_record(stack.settings.record_file(server.name))
    process = find(record) if record else None
    if record is None or process is None:
        return Row(server.name, None, None, "stopped", None)
    reason = server.check(stack.reach(server))
    state: State = "unhealthy" if reason else "running"
    return Row(server.name, record.pid, record.port, state, resident_bytes(process), reason=reason)


def _process(stack: Stack, name: str) -> Row:
    record = read_record(stack.settings.record_file(name))
    if record is None:
        return Row(name, None, None, "stopped", None)
    process = find(record)
    if process is None:
        state: State = "restarting" if _supervised(stack) else "stopped"
        return Row(name, None, None, state, None, record.restarts, record.reason)
    return Row(name, record.pid, record.port, "running", resident_bytes(process), record.restarts, record.reason)


def _supervised(stack: Stack) -> bool:
    record = read_record(stack.settings.record_file("supervisor"))
    return record is not None and find(record) is not None
