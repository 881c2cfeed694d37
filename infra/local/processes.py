"""Processes that outlive the command that started them, known by a pid record that cannot mean somebody else.

A record holds the pid and the process's identity: the moment the kernel started it. A pid that has been given to
another process since is therefore never taken for ours, and never signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import psutil

from infra.local.errors import ServerDoesNotStop

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KILL_WAIT_SECONDS = 5.0
ROTATE_BYTES = 10 * 1024 * 1024

# Children of this process that it started and does not wait for. Popen complains when it is collected while its
# process runs, and reaps it here when the process has ended (so that a dead one is no zombie in a long-lived parent).
_started: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True)
class Account:
    """The system account to run a process as (None where the caller's own will do)."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Launch:
    """How a process is started: arguments, what it adds to the environment, account and working folder."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    account: Account | None = None
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What a pid file says: name, pid, identity (see `identity`), port, and how often and why it was restarted."""

    name: str
    pid: int
    identity: str
    port: int
    restarts: int = 0
    reason: str = ""

    def write(self, path: Path) -> None:
        """Put the record on disk in one step."""
        scratch = path.with_suffix(".tmp")
        scratch.write_bytes(orjson.dumps(asdict(self)))
        scratch.replace(path)


def read_record(path: Path) -> ProcessRecord | None:
    """The record in a pid file; None where there is none or it is damaged (then nobody can be named by it)."""
    try:
        return ProcessRecord(**orjson.loads(path.read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError):
        return None


def identity(process: psutil.Process) -> str:
    """When the kernel started a process, in a form that no clock change moves.

    On Linux: boot id and start time in ticks since boot (proc(5), field 22 of /proc/pid/stat); elsewhere the creation
    time to a tenth of a second.
    """
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return f"{BOOT_ID.read_text().strip()}:{fields[19]}"
    except FileNotFoundError:
        return f"{process.create_time():.1f}"


def find(record: ProcessRecord) -> psutil.Process | None:
    """The live process that a record names, or None when it has ended (even if its pid is in use again)."""
    child = _started.get(record.pid)
    if child is not None and child.poll() is not None:
        del _started[record.pid]
    try:
        process = psutil.Process(record.pid)
        if process.status() == psutil.STATUS_ZOMBIE or identity(process) != record.identity:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def start_detached(name: str, launch: Launch, log: Path, record_path: Path, port: int) -> ProcessRecord:
    """Start a process in a session of its own, its output appended to a log file, and write its pid record."""
    if log.exists() and log.stat().st_size > ROTATE_BYTES:
        log.replace(log.with_suffix(".log.1"))
    account = launch.account
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(launch.argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=launch.cwd,
            env={**os.environ, **launch.environment},
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    _started[child.pid] = child
    record = ProcessRecord(name, child.pid, identity(psutil.Process(child.pid)), port)
    record.write(record_path)
    return record


def stop(record: ProcessRecord, grace_seconds: float, stop_signal: signal.Signals = signal.SIGTERM) -> bool:
    """End exactly the process of a record: the signal first, SIGKILL after the grace. False when it was gone already.

    Its children are killed only where the process had to be: a server that stops in order has ended them itself.
    """
    process = find(record)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
        process.send_signal(stop_signal)
        if not _wait(process, grace_seconds):
            for one in (process, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            if not _wait(process, KILL_WAIT_SECONDS):
                raise ServerDoesNotStop(record.name, record.pid)
    find(record)
    return True


def _wait(process: psutil.Process, seconds: float) -> bool:
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def last_lines(path: Path, count: int = 15, window: int = 65536) -> str:
    """The end of a text file, for error messages; empty when there is no such file."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - window))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def resident_bytes(process: psutil.Process) -> int:
    """Memory of a process and its children that is its own: shared pages (PostgreSQL's buffers) are counted once.

    The proportional share (PSS) where the kernel tells it, else the resident set.
    """
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += getattr(one.memory_full_info(), "pss", 0) or one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied:
            total += one.memory_info().rss
    return total
