"""The short form of `incidents torture`: each kind of fault and each fail point once, and every invariant."""

from __future__ import annotations

import os
import subprocess
import sys

import orjson
import pytest

from infra.torture.faults import faults
from tests.harness.stack import ROOT, free_offset

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
COMMAND = ("-m", "cli.main", "torture", "--steps", "0", "--seed", "1", "--at-once", "9")


def test_nothing_is_lost_and_nothing_is_twice() -> None:
    environment = {**os.environ, "INCIDENTS_PORT_OFFSET": str(free_offset("torture"))}
    run = subprocess.run(
        (sys.executable, *COMMAND), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-5_000:]
    result = orjson.loads(run.stdout.strip().splitlines()[-1])
    assert result["steps"] == len(faults())
    assert result["violations"] == result["lost"] == result["duplicates"] == 0
