"""Pid records name our process or nobody."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local.processes import (
    Launch,
    ProcessRecord,
    find,
    identity,
    last_lines,
    read_record,
    resident_bytes,
    start_detached,
    stop,
)

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def wait_for(path: Path, text: str, seconds: float = 10.0) -> None:
    """Wait until a log holds a text."""
    deadline = time.monotonic() + seconds
    while text not in last_lines(path):
        assert time.monotonic() < deadline, f"{text!r} never came: {last_lines(path)!r}"
        time.sleep(0.01)


def start(folder: Path, code: str) -> ProcessRecord:
    """A Python process, started detached and up."""
    log = folder / "it.log"
    record = start_detached("it", Launch([sys.executable, "-c", code]), log, folder / "it.json", 4711)
    wait_for(log, "up")
    return record


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessRecord]:
    """A process that waits to be ended."""
    record = start(tmp_path, SLEEPER)
    yield record
    stop(record, 5.0)


def test_a_started_process_is_found_by_its_record(sleeper: ProcessRecord, tmp_path: Path) -> None:
    assert read_record(tmp_path / "it.json") == sleeper
    found = find(sleeper)
    assert found is not None
    assert found.pid == sleeper.pid
    assert os.getsid(sleeper.pid) == sleeper.pid, "it must survive the terminal of its starter"
    assert resident_bytes(found) > 1_000_000


def test_a_recycled_pid_is_neither_found_nor_stopped(sleeper: ProcessRecord) -> None:
    former = dataclasses.replace(sleeper, identity="another boot:1")
    assert find(former) is None
    assert stop(former, 1.0) is False
    assert find(sleeper) is not None


def test_stop_ends_exactly_this_process(tmp_path: Path) -> None:
    record = start(tmp_path, SLEEPER)
    assert stop(record, 5.0) is True
    assert find(record) is None
    assert stop(record, 5.0) is False


def test_stop_kills_what_ignores_the_signal(tmp_path: Path) -> None:
    record = start(tmp_path, STUBBORN)
    assert stop(record, 0.2) is True
    assert find(record) is None


def test_a_killed_process_is_not_found_though_nobody_waited_for_it(tmp_path: Path) -> None:
    record = start(tmp_path, SLEEPER)
    os.kill(record.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(record.pid)], timeout=5.0)
    assert find(record) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "x"}', b'{"pid": 1, "other": 2}'])
def test_a_damaged_record_names_nobody(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(content)
    assert read_record(path) is None


def test_no_record_names_nobody(tmp_path: Path) -> None:
    assert read_record(tmp_path / "it.json") is None


def test_identity_is_that_of_the_process_not_of_its_pid_alone(sleeper: ProcessRecord) -> None:
    assert identity(psutil.Process(sleeper.pid)) == sleeper.identity
    assert identity(psutil.Process()) != sleeper.identity


def test_last_lines_reads_only_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {n}\n" for n in range(100_000)))
    assert last_lines(path, 2) == "line 99998\nline 99999"
    assert not last_lines(tmp_path / "none")
