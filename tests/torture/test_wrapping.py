"""The tables of fail points and planted bugs fit the production code that they wrap."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from infra.torture import failpoints, planted, process, wrapping
from infra.torture.failpoints import FAILPOINTS
from infra.torture.planted import PLANTED

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("point", FAILPOINTS, ids=lambda point: point.name)
def test_every_fail_point_names_a_function(point: failpoints.FailPoint) -> None:
    assert callable(wrapping.find(point.target))
    assert point.process in get_args(failpoints.Process)


def test_names_are_unique_and_every_process_has_fail_points() -> None:
    assert len({point.name for point in FAILPOINTS}) == len(FAILPOINTS)
    assert {point.process for point in FAILPOINTS} == set(get_args(failpoints.Process))
    assert len({bug.name for bug in PLANTED}) == len(PLANTED)


@pytest.mark.parametrize(
    ("bug", "target"),
    [(bug, target) for bug in PLANTED for target in bug.wraps],
    ids=lambda one: getattr(one, "name", one),
)
def test_every_planted_bug_takes_what_the_function_takes(bug: planted.Planted, target: str) -> None:
    original = wrapping.find(target)
    wrong = bug.wraps[target](original)
    assert wrapping.is_coroutine(wrong) == wrapping.is_coroutine(original)
    if not isinstance(original, type(object.__init__)):  # of an extension module: it has no signature
        ours, theirs = inspect.signature(wrong).parameters, inspect.signature(original).parameters
        assert len(ours) == len(theirs)
    assert set(bug.points) <= {point.name for point in FAILPOINTS}


def in_a_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code with the fail points of the scheduler installed."""
    setup = (
        "import sys; from pathlib import Path; from infra.torture import failpoints\n"
        f"failpoints.install(Path({str(folder)!r}), 'scheduler', 'scheduler-1')\n"
        "from projections import scheduler\n"
        "class Nothing:\n"
        "    def transaction(self): return self\n"
        "    def __enter__(self): return self\n"
        "    def __exit__(self, *_): pass\n"
        "    def execute(self, *_): return self\n"
        "    def fetchall(self): return [('i', 't', 'x', 'close', scheduler.instant(0), 'c')][:rows]\n"
    )
    return subprocess.run(
        [sys.executable, "-c", setup + code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_armed_point_kills_once_and_only_when_it_is_reached(tmp_path: Path) -> None:
    fire = "print(scheduler.fire_due(Nothing(), lambda _: None, 0))"
    assert in_a_process(f"rows = 1; {fire}", tmp_path).stdout == "1\n", "nothing is armed"
    failpoints.arm(tmp_path, "scheduler-1", "fired-marked")
    assert in_a_process(f"rows = 0; {fire}", tmp_path).stdout == "0\n", "no timer was marked"
    assert not failpoints.was_hit(tmp_path, "scheduler-1", "fired-marked")
    assert in_a_process(f"rows = 1; {fire}", tmp_path).returncode == -signal.SIGKILL
    assert failpoints.was_hit(tmp_path, "scheduler-1", "fired-marked")
    assert in_a_process(f"rows = 1; {fire}", tmp_path).stdout == "1\n", "an arming counts once"
    assert not failpoints.disarm(tmp_path, "scheduler-1", "fired-marked")


def test_a_stalled_point_goes_on(tmp_path: Path) -> None:
    failpoints.arm(tmp_path, "scheduler-1", "fired-marked", "stall 0.2")
    code = "import time; rows = 1; began = time.monotonic(); scheduler.fire_due(Nothing(), lambda _: None, 0);"
    assert float(in_a_process(code + "print(time.monotonic() - began)", tmp_path).stdout) >= 0.2


def test_a_frozen_point_waits_to_be_woken(tmp_path: Path) -> None:
    failpoints.arm(tmp_path, "scheduler-1", "fired-marked", "freeze")
    code = (
        "import os, signal, threading; rows = 1\n"
        "pid = os.fork()\n"
        "if pid:\n"
        "    _, status = os.waitpid(pid, os.WUNTRACED); assert os.WIFSTOPPED(status)\n"
        "    os.kill(pid, signal.SIGCONT); print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "else:\n"
        "    scheduler.fire_due(Nothing(), lambda _: None, 0); os._exit(7)\n"
    )
    assert in_a_process(code, tmp_path).stdout == "7\n"


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        failpoints.arm(tmp_path, "worker", "no-such-point")
    with pytest.raises(KeyError):
        planted.install("no-such-bug", "worker")


def test_the_commands_run_as_they_are(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **process.environment(tmp_path, "worker-1", ("id-from-the-clock",))}
    for kind in get_args(failpoints.Process):
        done = subprocess.run(
            process.command(kind, "--help"), cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert kind in done.stdout


def test_a_bug_is_planted_only_where_it_belongs() -> None:
    code = (
        "from infra.torture import planted; import sys\n"
        "planted.install('id-from-the-clock', sys.argv[1])\n"
        "from streams.domain import batch; print(batch.derive_id('a') == batch.derive_id('a'))"
    )
    said = [
        subprocess.run([sys.executable, "-c", code, kind], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for kind in ("worker", "api")
    ]
    assert said == ["False\n", "True\n"]
