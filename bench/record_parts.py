"""What the record is read for: rebuild, as of, verify and what-if, each measured by a module of its own.

These run by themselves too (``python -m bench.rebuild``); their last line is one JSON object.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from bench.part import Found, Row, Scale
from bench.world import ROOT, free_offset

_MODULES = {
    "rebuild": ("--events", 200_000),
    "as_of": ("--events", 10_000),
    "verify": ("--events", 100_000),
    "what_if": ("--signals", 100_000),
}
_ROWS = {
    "rebuild_eps": ("rebuild of all read models (events/s)", "50,000"),
    "rebuild_vs_copy": ("rebuild as a share of raw COPY", "0.5"),
    "as_of_10k_ms": ("an incident of 10,000 events as of an instant (ms)", ""),
    "verify_eps": ("verify of the record (events/s)", ""),
    "what_if_sps": ("what-if (signals/s)", ""),
}


def measure(scale: Scale) -> Found:
    """All of them, one after the other."""
    found = Found()
    for module, (option, count) in _MODULES.items():
        if not (Path(__file__).parent / f"{module}.py").exists():
            continue
        size = count if module == "as_of" else scale.of(count)
        figures = _run(module, option, size)
        found.details[module] = figures
        for name, (what, goal) in _ROWS.items():
            value = figures.get(name)
            if isinstance(value, int | float):
                found.figures[name] = value
                found.rows.append(Row(what, f"{value:,}", goal=goal))
    return found


def _run(module: str, option: str, size: int) -> dict[str, object]:
    command = [sys.executable, "-m", f"bench.{module}", option, str(size)]
    environment = {"BENCH_PORT_OFFSET": str(free_offset())}
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench.{module} failed:\n{done.stderr[-3000:]}")
    return dict(orjson.loads(done.stdout.splitlines()[-1]))
