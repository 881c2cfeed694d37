"""The application's processes under test: started, killed, paused, and started again when they die.

The harness is their supervisor: what ends without having been told to is started again after the delay that
`incidents run` would wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from infra.local.processes import ProcessRecord, identity
from infra.local.settings import StackSettings
from infra.local.supervisor import STABLE_SECONDS, restart_delay
from infra.torture import process

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("worker", "projector", "dispatcher", "scheduler", "archiver", "poller", "simulator", "api")
SLOTTED = frozenset({"worker", "projector"})
"""Members of a group with a place of their own in it, as `incidents run` starts them."""

EXTRA = "-extra-"
WATCH_S = 0.05
STOP_S = 10.0
"""A graceful stop has to be done by then."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An end of a process: its exit code (negative: the signal), after how long, and whether it was ordered."""

    name: str
    code: int
    lived_s: float
    ordered: bool
    at: float


@dataclass(slots=True)
class Child:
    """One process by name (``worker-1``); ``wanted`` says whether it is to run.

    ``root`` is where its source is, ``later`` what makes it a later version (``fixes``).
    """

    name: str
    kind: str
    port: int
    argv: tuple[str, ...]
    root: Path = ROOT
    later: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    ordered: bool = False
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0


@dataclass(slots=True)
class Children:
    """All processes of one world; ``environment`` is what they get beside their own port."""

    settings: StackSettings
    environment: Mapping[str, str]
    planted: tuple[str, ...] = ()
    ends: list[Ended] = field(default_factory=list)
    peak_bytes: dict[str, int] = field(default_factory=dict)
    _children: dict[str, Child] = field(default_factory=dict)
    _extras: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def folder(self) -> Path:
        """Where fail points are armed."""
        return self.settings.home / "torture"

    def watch(self) -> None:
        """Begin to start again what dies."""
        self._thread = threading.Thread(target=self._watch, name="children", daemon=True)
        self._thread.start()

    def add(self, kind: str, name: str = "", root: Path = ROOT, later: tuple[str, ...] = ()) -> str:
        """Start one more process of a kind, of the source in ``root``; its name."""
        with self._lock:
            number = sum(child.kind == kind for child in self._children.values())
            name = name or f"{kind}-{number}"
            port = self._port(kind)
            slot = ("--slot", name) if kind in SLOTTED else ()
            child = Child(name, kind, port, process.command(kind, *slot), root, later)
            self._children[name] = child
            self._start(child)
        return name

    def add_extra(self, kind: str) -> str:
        """Start one more process under a name that none had before, to be removed again; its name."""
        with self._lock:
            self._extras += 1
            return self.add(kind, f"{kind}{EXTRA}{self._extras}")

    def names(self, kind: str) -> list[str]:
        """The processes of a kind that are to run."""
        with self._lock:
            return [child.name for child in self._children.values() if child.kind == kind and child.wanted]

    def lasting(self, kind: str) -> list[str]:
        """Those of them that stay: no fault that is in force at the same time takes them away again."""
        return [name for name in self.names(kind) if EXTRA not in name]

    def port(self, name: str) -> int:
        """Where a process serves health and metrics."""
        return self._children[name].port

    def send_signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal; one that ends the process counts as ordered. False: there was no process to take it."""
        with self._lock:
            child = self._children[name]
            if child.process is None or child.process.poll() is not None:
                return False
            if number in {signal.SIGKILL, signal.SIGTERM}:
                child.ordered = True
            child.process.send_signal(number)
            return True

    def kill(self, name: str) -> None:
        """SIGKILL; it is started again by the watch."""
        self.send_signal(name, signal.SIGKILL)

    def remove(self, name: str, number: signal.Signals = signal.SIGTERM) -> float:
        """End a process for good; the seconds that it took. Killed when it is not gone after ``STOP_S``."""
        child = self._children[name]
        child.wanted = False
        return self._end(child, number)

    def stop_in_order(self, name: str) -> float:
        """SIGTERM, wait, and leave the new start to the watch; the seconds that the end took."""
        return self._end(self._children[name], signal.SIGTERM)

    def is_awake(self, name: str) -> bool:
        """Whether a process runs now and is not frozen."""
        with contextlib.suppress(psutil.NoSuchProcess):
            pid = self.pid(name)
            return pid != 0 and psutil.Process(pid).status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
        return False

    def pid(self, name: str) -> int:
        """The process id of a process, 0 while it has none."""
        running = self._children[name].process
        return running.pid if running is not None and running.poll() is None else 0

    def sample_memory(self) -> None:
        """Remember the largest resident set of each process so far."""
        for child in list(self._children.values()):
            with contextlib.suppress(psutil.Error):
                if pid := self.pid(child.name):
                    size = psutil.Process(pid).memory_info().rss
                    self.peak_bytes[child.name] = max(size, self.peak_bytes.get(child.name, 0))

    def close(self) -> None:
        """End everything."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        for child in self._children.values():
            child.wanted = False
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGCONT)
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for child in self._children.values():
            if child.process is not None:
                _wait(child.process, max(0.0, deadline - time.monotonic()))
            self.settings.record_file(child.name).unlink(missing_ok=True)

    def _end(self, child: Child, number: signal.Signals) -> float:
        began = time.monotonic()
        running = child.process
        self.send_signal(child.name, number)
        if running is not None:
            _wait(running, STOP_S)
        if not child.wanted:
            self.settings.record_file(child.name).unlink(missing_ok=True)
        return time.monotonic() - began

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_S):
            with self._lock:
                for child in list(self._children.values()):
                    self._look_at(child)

    def _look_at(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is not None and (code := child.process.poll()) is not None:
            lived = now - child.started
            ordered = child.ordered or not child.wanted or code == -signal.SIGKILL  # a fail point kills from within
            self.ends.append(Ended(child.name, code, round(lived, 1), ordered, time.time()))
            child.failures = 1 if lived >= STABLE_SECONDS or ordered else child.failures + 1
            child.process, child.ordered = None, False
            child.start_at = now + restart_delay(child.failures)
        if child.process is None and child.wanted and now >= child.start_at:
            self._start(child)

    def _start(self, child: Child) -> None:
        variable = "INCIDENTS_API_PORT" if child.kind == "api" else "INCIDENTS_METRICS_PORT"
        own = {variable: str(child.port), **process.environment(self.folder, child.name, self.planted, child.later)}
        with self.settings.log_file(child.name).open("ab") as output:
            child.process = subprocess.Popen(
                child.argv,
                cwd=child.root,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(child.root), **self.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the harness, which ends them in order
            )
        child.started = time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):
            found = identity(psutil.Process(child.process.pid))
            record = ProcessRecord(child.name, child.process.pid, found, child.port)
            record.write(self.settings.record_file(child.name))  # `incidents down` ends what a killed harness leaves

    def _port(self, kind: str) -> int:
        if kind == "api" and not self.names("api"):
            return self.settings.port(self.settings.api_port)
        taken = {child.port for child in self._children.values() if child.wanted}
        first = self.settings.port(self.settings.metrics_base_port) + 1
        return next(port for port in range(first, first + 90) if port not in taken)


def _wait(running: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
