"""The supervisor: restarts what dies, stops all, leaves nothing, refuses a twin. Its processes are real."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from infra.local import stack as local_stack
from infra.local import supervisor as supervision
from infra.local.errors import AnotherCopyRunning, PortTaken
from infra.local.heartbeat import HeartbeatSettings
from infra.local.processes import Launch, ProcessRecord, find, last_lines, read_record, start_detached
from infra.local.settings import StackSettings
from infra.local.status import status
from infra.local.supervisor import PROCESSES, ProcessLogs, ProcessSpec, Supervisor, describe_exit, restart_delay
from tests.harness.stack import settings_for

STEADY = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
Lines = list[tuple[str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    """A home and free ports of the test's own."""
    return settings_for(tmp_path)


def spec(code: str, name: str = "worker", index: int = 1) -> ProcessSpec:
    """A process that runs this code."""
    return ProcessSpec(name, index, (sys.executable, "-c", code))


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def supervised(settings: StackSettings, *specs: ProcessSpec) -> AsyncIterator[Lines]:
    """A supervisor over these processes, until the block ends; gives the lines that it has emitted."""
    lines: Lines = []
    supervisor = Supervisor(settings, {"ADDED": "by the stack"}, lambda name, line: lines.append((name, line)), specs)
    task = asyncio.create_task(supervisor.run())
    try:
        await until(lambda: task.done() or any(line == "up" for _, line in lines))
        yield lines
    finally:
        supervisor.stop()
        await task


def record_of(settings: StackSettings, name: str = "worker") -> ProcessRecord:
    """The record of a process that is there."""
    record = read_record(settings.record_file(name))
    assert record is not None
    return record


async def test_what_is_killed_starts_again_and_the_reason_is_kept(settings: StackSettings) -> None:
    async with supervised(settings, spec(STEADY)) as lines:
        first = record_of(settings)
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: lines.count(("worker", "up")) == 2)
        second = record_of(settings)
    assert second.pid != first.pid
    assert (second.restarts, second.reason) == (1, "killed by SIGKILL")
    assert any(name == "supervisor" and "killed by SIGKILL" in line for name, line in lines)


async def test_what_fails_at_once_is_tried_again_ever_more_slowly(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_DELAY_SECONDS", 0.06)
    async with supervised(settings, spec("print('up', flush=True); raise SystemExit(7)")) as lines:
        await until(lambda: lines.count(("worker", "up")) == 4)
        assert record_of(settings).reason == "exit code 7"
    delays = [line.rpartition(" in ")[2] for name, line in lines if name == "supervisor" and "exit code 7)" in line]
    assert delays[:3] == ["0.1 s", "0.1 s", "0.2 s"]


def test_the_delay_doubles_up_to_a_cap() -> None:
    assert [restart_delay(failures) for failures in range(1, 8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert restart_delay(20) == 15.0


async def test_a_long_life_makes_the_delay_short_again(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "FIRST_DELAY_SECONDS", 0.05)
    monkeypatch.setattr(supervision, "STABLE_SECONDS", 0.0)
    async with supervised(settings, spec("print('up', flush=True)")) as lines:
        await until(lambda: lines.count(("worker", "up")) == 5)
    delays = {line.rpartition(" in ")[2] for name, line in lines if "exit code 0)" in line and " in " in line}
    assert delays == {"0.1 s"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_stops_everything(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(supervision, "STOP_GRACE_SECONDS", 0.3)
    specs = (spec(STEADY), spec(STUBBORN, "projector", 2))
    async with supervised(settings, *specs) as lines:
        await until(lambda: {name for name, line in lines if line == "up"} == {"worker", "projector"})
        records = [record_of(settings, name) for name in ("worker", "projector")]
        os.kill(os.getpid(), number)
        await until(lambda: not any(find(record) for record in records))
    assert local_stack.recorded_names(settings) == set()


async def test_a_second_supervisor_is_refused(settings: StackSettings) -> None:
    async with supervised(settings, spec(STEADY)):
        pid = record_of(settings).pid
        with pytest.raises(AnotherCopyRunning, match=f"pid {os.getpid()}"):
            await Supervisor(settings, {}, local_stack.quiet, (spec(STEADY),)).run()
        assert record_of(settings).pid == pid
        assert psutil.pid_exists(pid)


async def test_what_a_killed_supervisor_left_is_ended_first(settings: StackSettings) -> None:
    settings.make_folders()
    launch = Launch([sys.executable, "-c", STEADY])
    left = start_detached("worker", launch, settings.log_file("worker"), settings.record_file("worker"), 0)
    async with supervised(settings, spec(STEADY)) as lines:
        assert find(left) is None
        assert record_of(settings).pid != left.pid
    assert any(f"pid {left.pid}" in line and "left by a supervisor" in line for _, line in lines)


async def test_a_port_that_is_taken_is_said_before_anything_starts(settings: StackSettings) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", spec(STEADY).port(settings))
    async with server:
        with pytest.raises(PortTaken, match="worker needs port"):
            await Supervisor(settings, {}, local_stack.quiet, (spec(STEADY),)).run()
    assert local_stack.recorded_names(settings) == set()


async def test_processes_are_told_their_ports_and_the_connections(settings: StackSettings) -> None:
    shown = "import os; print(os.environ.get('INCIDENTS_METRICS_PORT'), os.environ['ADDED']); print('up', flush=True)"
    async with supervised(settings, spec(shown + "; import time; time.sleep(600)")) as lines:
        assert ("worker", f"{9101 + settings.port_offset} by the stack") in lines


async def test_a_process_is_told_how_often_it_was_started_again(settings: StackSettings) -> None:
    shown = "import os, time; print('restarts', os.environ['INCIDENTS_RESTARTS']); print('up', flush=True)"
    async with supervised(settings, spec(shown + "; time.sleep(600)")) as lines:
        os.kill(record_of(settings).pid, signal.SIGKILL)
        await until(lambda: lines.count(("worker", "up")) == 2)
    told = [line for name, line in lines if line.startswith("restarts") and name == "worker"]
    assert told == ["restarts 0 ", "restarts 1 killed by SIGKILL"]


async def test_the_heartbeat_is_sent_for_what_runs(settings: StackSettings) -> None:
    ready = (
        "import os; from http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Ready(BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "server = HTTPServer(('127.0.0.1', int(os.environ['INCIDENTS_METRICS_PORT'])), Ready)\n"
        "print('up', flush=True); server.serve_forever()\n"
    )
    called = asyncio.Event()

    async def watcher(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            if (await reader.readline()).startswith(b"GET /alive "):
                called.set()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with await asyncio.start_server(watcher, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        heartbeat = HeartbeatSettings(url=SecretStr(f"http://127.0.0.1:{port}/alive"), every_s=0.05)
        supervisor = Supervisor(settings, {}, local_stack.quiet, (spec(ready),), heartbeat)
        task = asyncio.create_task(supervisor.run())
        try:
            await asyncio.wait_for(called.wait(), 20)
        finally:
            supervisor.stop()
            await asyncio.wait_for(task, 20)


async def test_an_endless_line_is_left_out_and_the_next_one_read(settings: StackSettings) -> None:
    code = "print('x' * 3_000_000); print('up', flush=True); import time; time.sleep(600)"
    async with supervised(settings, spec(code)) as lines:
        said = [line for name, line in lines if name == "worker"]
    assert said[-1] == "up"
    assert all(len(line) < 1_100_000 for line in said)


async def test_status_shows_supervised_processes(settings: StackSettings) -> None:
    stack = local_stack.open_stack(settings)
    async with supervised(settings, spec(STEADY)):
        row = next(row for row in status(stack)["processes"] if row["name"] == "worker")
        assert (row["state"], row["pid"], row["port"]) == (
            "running",
            record_of(settings).pid,
            9101 + settings.port_offset,
        )
        assert isinstance(row["rss_bytes"], int)
    rows = status(stack)["processes"]
    assert {row["state"] for row in rows} == {"stopped"}


async def test_down_ends_a_supervisor_and_what_it_runs(settings: StackSettings, tmp_path: Path) -> None:
    """`incidents down` on a home whose supervisor is another process."""
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from infra.local.settings import StackSettings\n"
        "from infra.local.supervisor import ProcessSpec, Supervisor\n"
        f"spec = ProcessSpec('worker', 1, (sys.executable, '-c', {STEADY!r}))\n"
        f"settings = StackSettings(home=Path({str(tmp_path)!r}), port_offset={settings.port_offset})\n"
        "asyncio.run(Supervisor(settings, {}, lambda name, line: print(name, line, flush=True), (spec,)).run())\n"
    )
    settings.make_folders()
    log = tmp_path / "supervisor.out"
    launch = Launch([sys.executable, "-c", code], {"PYTHONPATH": os.pathsep.join(sys.path)})
    start_detached("it", launch, log, tmp_path / "it.json", 0)
    await until(lambda: "worker up" in last_lines(log))
    records = [record_of(settings), record_of(settings, "supervisor")]
    await asyncio.to_thread(local_stack.down, local_stack.open_stack(settings), local_stack.quiet)
    assert not any(find(record) for record in records)
    assert local_stack.recorded_names(settings) == set()


def test_the_log_of_each_process_is_written_and_bounded(
    settings: StackSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "ROTATE_BYTES", 1000)
    settings.make_folders()
    with closing(ProcessLogs(settings)) as logs:
        for number in range(200):
            logs.write("worker", f"line {number}")
    files = sorted(path.name for path in settings.log_dir.iterdir())
    assert files == ["worker.log", "worker.log.1"]
    assert last_lines(settings.log_file("worker"), 1) == "line 199"
    assert sum(path.stat().st_size for path in settings.log_dir.iterdir()) <= 2000


def test_the_application_has_these_processes_on_ports_of_their_own() -> None:
    settings = StackSettings(port_offset=0)
    ports = {spec.name: spec.port(settings) for spec in PROCESSES}
    assert ports == {
        "worker": 9101,
        "projector": 9102,
        "dispatcher": 9103,
        "scheduler": 9104,
        "archiver": 9105,
        "poller": 9106,
        "simulator": 9107,
        "api": 8080,
    }
    assert set(ports.values()) <= set(settings.all_ports())
    assert PROCESSES[-1].environment(settings) == {"INCIDENTS_API_PORT": "8080"}
    assert describe_exit(3) == "exit code 3"
