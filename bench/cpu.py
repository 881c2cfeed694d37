"""CPU time by process, as the kernel counts it: what work costs where the machine is shared and wall time is noisy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import psutil

Pids = Mapping[str, Iterable[int]]


def seconds(pids: Pids) -> dict[str, float]:
    """User and system time so far of each name's processes, with all of their children, also those that have ended."""
    return {name: sum(map(_of_tree, its)) for name, its in pids.items()}


def between(before: Mapping[str, float], after: Mapping[str, float], events: int) -> dict[str, float]:
    """CPU microseconds per event of each name."""
    return {name: round((after[name] - before.get(name, 0.0)) / events * 1e6, 1) for name in after}


def resident_mb(pids: Pids) -> dict[str, int]:
    """Resident memory of each name's processes and their children, proportional where the kernel tells it."""
    return {name: round(sum(map(_resident, its)) / 2**20) for name, its in pids.items()}


def _of_tree(pid: int) -> float:
    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total


def _resident(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
    return total
