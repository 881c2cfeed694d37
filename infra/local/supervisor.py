"""One foreground process that runs all processes of the application and starts again what dies."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from infra.local.heartbeat import HeartbeatSettings, beat
from infra.local.locks import exclusive
from infra.local.ports import require_free
from infra.local.processes import ROTATE_BYTES, ProcessRecord, identity, read_record, stop
from infra.local.settings import StackSettings
from infra.local.stack import PROCESS_GRACE_SECONDS, SUPERVISOR
from streams.runtime.health import RESTARTS

FIRST_DELAY_SECONDS = 0.1
MAXIMUM_DELAY_SECONDS = 15.0
STABLE_SECONDS = 30.0
STOP_GRACE_SECONDS = 8.0
LAST_LINES_SECONDS = 1.0
LINE_LIMIT_BYTES = 1024 * 1024
ROOT = Path(__file__).resolve().parents[2]

Emit = Callable[[str, str], None]  # (name of the process, one line of its output)


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process of the application: its name, the setting that holds its port's base, its command."""

    name: str
    metrics_index: int | None  # None: it serves its metrics on the API's port
    argv: tuple[str, ...]

    def port(self, settings: StackSettings) -> int:
        """Where it serves health and metrics."""
        if self.metrics_index is None:
            return settings.port(settings.api_port)
        return settings.port(settings.metrics_base_port + self.metrics_index)

    def environment(self, settings: StackSettings) -> dict[str, str]:
        """The variables that tell it its port."""
        variable = "INCIDENTS_API_PORT" if self.metrics_index is None else "INCIDENTS_METRICS_PORT"
        return {variable: str(self.port(settings))}


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "cli.main", *arguments)


PROCESSES = (
    ProcessSpec("worker", 1, _command("worker")),
    ProcessSpec("projector", 2, _command("projector", "--slot", "0")),
    ProcessSpec("dispatcher", 3, _command("dispatcher")),
    ProcessSpec("scheduler", 4, _command("scheduler")),
    ProcessSpec("archiver", 5, _command("archiver")),
    ProcessSpec("poller", 6, _command("poller")),
    ProcessSpec("simulator", 7, _command("simulator")),
    ProcessSpec("api", None, _command("api")),
)


def restart_delay(failures: int) -> float:
    """Seconds before the start that follows so many ends in a row (at least one): doubling, capped."""
    return min(MAXIMUM_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (failures - 1))


def describe_exit(code: int) -> str:
    """An exit status for people: `exit code 1` or `killed by SIGKILL`."""
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


class Supervisor:
    """Runs a set of processes until it is told to stop.

    `emit` gets every line that a process prints, and the supervisor's own under the name ``supervisor``. `environment`
    is added to what the processes inherit.
    """

    def __init__(
        self,
        settings: StackSettings,
        environment: Mapping[str, str],
        emit: Emit,
        specs: Sequence[ProcessSpec] = PROCESSES,
        heartbeat: HeartbeatSettings | None = None,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._emit = emit
        self._specs = specs
        self._heartbeat = heartbeat or HeartbeatSettings()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End all processes and let `run` return."""
        self._stopping.set()

    async def run(self) -> None:
        """Start everything, keep it running, and return when all has ended after `stop`, SIGTERM, SIGINT or SIGHUP.

        Raises `AnotherCopyRunning` where a supervisor of this home is alive and `PortTaken` before anything starts.
        """
        self._settings.make_folders()
        with exclusive(self._settings.home / "run.lock", "run", 0.0):
            self._end_leftovers()
            for spec in self._specs:
                require_free(spec.name, (spec.port(self._settings),))
            own = self._settings.record_file(SUPERVISOR)
            ProcessRecord(SUPERVISOR, os.getpid(), identity(psutil.Process()), 0).write(own)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.add_signal_handler(number, self.stop)
            try:
                async with asyncio.TaskGroup() as group:
                    for spec in self._specs:
                        group.create_task(self._keep_running(spec))
                    if self._heartbeat.url.get_secret_value():
                        ports = [spec.port(self._settings) for spec in self._specs]
                        say = functools.partial(self._emit, SUPERVISOR)
                        group.create_task(beat(self._heartbeat, ports, self._stopping, say))
            finally:
                own.unlink(missing_ok=True)

    def _end_leftovers(self) -> None:
        """A supervisor that was killed leaves its processes behind; two of a kind would share ports and data."""
        for spec in self._specs:
            path = self._settings.record_file(spec.name)
            record = read_record(path)
            if record is not None and stop(record, PROCESS_GRACE_SECONDS):
                self._emit(SUPERVISOR, f"ended {spec.name} (pid {record.pid}), left by a supervisor that was killed")
            path.unlink(missing_ok=True)

    async def _keep_running(self, spec: ProcessSpec) -> None:
        failures = restarts = 0
        reason = ""
        path = self._settings.record_file(spec.name)
        while not self._stopping.is_set():
            started = time.monotonic()
            reason = describe_exit(await self._run_once(spec, restarts, reason))
            if self._stopping.is_set():
                break
            lived = time.monotonic() - started
            failures = 1 if lived >= STABLE_SECONDS else failures + 1
            restarts += 1
            record = read_record(path)
            if record is not None:
                replace(record, restarts=restarts, reason=reason).write(path)
            delay = restart_delay(failures)
            self._emit(
                SUPERVISOR,
                f"{spec.name} ended after {lived:.1f} s ({reason}); start {restarts + 1} in {delay:.1f} s",
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
        path.unlink(missing_ok=True)
        self._emit(SUPERVISOR, f"{spec.name} stopped ({reason})")

    async def _run_once(self, spec: ProcessSpec, restarts: int, reason: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *spec.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_LIMIT_BYTES,
            env={
                **os.environ,
                "PYTHONUNBUFFERED": "1",
                **self._environment,
                **spec.environment(self._settings),
                RESTARTS: f"{restarts} {reason}",
            },
            start_new_session=True,  # Ctrl-C reaches the supervisor, which stops the others in order
        )
        port = spec.port(self._settings)
        with contextlib.suppress(psutil.NoSuchProcess):
            record = ProcessRecord(
                spec.name, process.pid, identity(psutil.Process(process.pid)), port, restarts, reason
            )
            record.write(self._settings.record_file(spec.name))
        self._emit(SUPERVISOR, f"{spec.name} started, pid {process.pid}, port {port}")
        reader = asyncio.create_task(self._relay(spec.name, process.stdout))
        code = await self._end_of(process)
        with contextlib.suppress(TimeoutError):  # a child of its own may hold the pipe open
            await asyncio.wait_for(reader, LAST_LINES_SECONDS)
        return code

    async def _relay(self, name: str, stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than LINE_LIMIT_BYTES: the stream has thrown it away
                line = b"(a line of more than 1 MB was left out)\n"
            if not line:
                return
            self._emit(name, line.decode(errors="replace").rstrip("\n"))

    async def _end_of(self, process: asyncio.subprocess.Process) -> int:
        """Wait for the process to end by itself or, once stopping, make it end."""
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            done, _ = await asyncio.wait({ended}, timeout=STOP_GRACE_SECONDS)
            if not done:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        stopping.cancel()
        return await ended


class ProcessLogs:
    """Appends each line to the log file of its process, two files of at most 10 MB each."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._files: dict[str, logging.handlers.RotatingFileHandler] = {}

    def write(self, name: str, line: str) -> None:
        """Append one line; an `Emit`."""
        if name not in self._files:
            path = self._settings.log_file(name)
            self._files[name] = logging.handlers.RotatingFileHandler(path, maxBytes=ROTATE_BYTES, backupCount=1)
        self._files[name].emit(logging.LogRecord(name, logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
