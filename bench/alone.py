"""Parts that are modules to be run by themselves: what the record is read for, each in a process of its own.

``python -m bench.rebuild`` measures the same without the table; its last line is one JSON object.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

import orjson

from bench.figures import median, spread
from bench.part import Found, Row, Scale
from bench.world import ROOT, free_offset


class Figure(NamedTuple):
    """One of the figures that a module prints: its name there, what the table says, its digits and its goal."""

    name: str
    what: str
    digits: int
    goal: str


class Alone(NamedTuple):
    """A module of the bench, how much it is given, and the figures that count."""

    module: str
    option: str
    size: int
    figures: tuple[Figure, ...]


ALONE = {
    "rebuild": Alone(
        "rebuild",
        "--events",
        400_000,
        (
            Figure("rebuild_eps", "rebuild of all read models (events/s)", 0, "50,000"),
            Figure("read_eps", "raw: the log fetched, its data read by fastavro (events/s)", 0, ""),
            Figure("ready_eps", "raw: COPY of rows that are ready (events/s)", 0, ""),
            Figure("parts_eps", "raw: both, nothing of ours between them (events/s)", 0, ""),
            Figure("copy_eps", "the same COPY path fed from memory (events/s)", 0, ""),
            Figure("rebuild_vs_copy", "rebuild as a share of that", 2, "0.5"),
        ),
    ),
    "as-of": Alone(
        "as_of",
        "--events",
        10_000,
        (Figure("as_of_10k_ms", "an incident of 10,000 events as of an instant (ms)", 1, "below 100"),),
    ),
    "verify": Alone(
        "verify",
        "--events",
        200_000,
        (
            Figure("verify_eps", "verify of the record, all cores (events/s)", 0, "50,000"),
            Figure("sha256_eps_one_core", "raw: SHA-256 of the same bytes, one core (events/s)", 0, ""),
        ),
    ),
    "what-if": Alone(
        "what_if",
        "--signals",
        200_000,
        (
            Figure("what_if_sps", "what-if: one core decides, one reads (signals/s)", 0, "20,000"),
            Figure("what_if_decode_sps_cpu", "raw: the same signals decoded and no more (signals/s)", 0, ""),
        ),
    ),
}
"""The parts by name."""

_WHOLE = {"as-of"}
"""Of which a fifth would be another question."""


def measure(name: str, scale: Scale) -> Found:
    """The part of that name, in as many rounds as the scale has."""
    part = ALONE[name]
    size = part.size if name in _WHOLE else scale.of(part.size)
    rounds = [_run(part, size) for _ in range(scale.rounds)]
    found = Found(details={name: rounds})
    for figure in part.figures:
        values = [one[figure.name] for one in rounds]
        middle = median(values, figure.digits)
        found.figures[figure.name] = middle
        found.rows.append(Row(figure.what, f"{middle:,}", spread(values, figure.digits), figure.goal))
    return found


def _run(part: Alone, size: int) -> dict[str, float]:
    command = [sys.executable, "-m", f"bench.{part.module}", part.option, str(size)]
    environment = os.environ | {"BENCH_PORT_OFFSET": str(free_offset())}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench.{part.module} failed:\n{done.stderr[-3000:]}")
    return dict(orjson.loads(done.stdout.splitlines()[-1]))
