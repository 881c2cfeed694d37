"""The servers that tests run against: named by the environment, in containers, or a local stack of the tests' own."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.local import stack as local_stack
from infra.local.errors import AnotherCopyRunning
from infra.local.locks import exclusive
from infra.local.ports import is_free
from infra.local.settings import StackSettings
from tests.harness.containers import container_stack, engine_answers

NAMED = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "S3_ENDPOINT")
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
OFFSETS = range(1000 + 100 * WORKER, 12000, 100 * WORKERS)
"""Multiples of 100 keep every port apart, and below the ephemeral range; test processes side by side share none."""

HOMES = 8
ROOT = Path(__file__).resolve().parents[2]

Connections = dict[str, str]  # the variables by which the application finds its servers


def free_offset(seed: str, **settings: Any) -> int:
    """A port offset at which every port of a stack is free now, found from a start that belongs to this checkout."""
    start = zlib.crc32(seed.encode()) % len(OFFSETS)
    for step in range(len(OFFSETS)):
        offset = OFFSETS[(start + step) % len(OFFSETS)]
        if all(map(is_free, StackSettings(port_offset=offset, **settings).all_ports())):
            return offset
    raise RuntimeError("no range of free ports was found for the tests' stack")


def settings_for(home: Path, **settings: Any) -> StackSettings:
    """Settings of a stack for tests: its own home and ports."""
    return StackSettings(home=home, port_offset=free_offset(str(home), **settings), **settings)


def _own_home(held: ExitStack) -> Path:
    """A home that no other test process uses now, held until the session ends."""
    for number in range(HOMES):
        home = ROOT / ".incidents" / ("test" if number == 0 else f"test-{number + 1}")
        home.mkdir(parents=True, exist_ok=True)
        try:
            held.enter_context(exclusive(home / "session.lock", "test session", 0.0))
        except AnotherCopyRunning:
            continue
        return home
    raise RuntimeError(f"{HOMES} test processes run in this checkout already")


def _local(held: ExitStack) -> Connections:
    home = _own_home(held)
    leftover = local_stack.open_stack(StackSettings(home=home))
    local_stack.down(leftover, local_stack.quiet)  # of a session that was killed
    stack = local_stack.open_stack(settings_for(home))
    held.callback(local_stack.down, stack, local_stack.quiet)
    return local_stack.up(stack, local_stack.quiet)


@pytest.fixture(scope="session")
def stack() -> Iterator[Connections]:
    """Kafka, PostgreSQL and S3 for the session: the variables that name them.

    The environment's own servers where it names all three; containers where INCIDENTS_TEST_CONTAINERS=1 and an engine
    answers; else a local stack under .incidents/test, stopped at the end.
    """
    if all(os.environ.get(name) for name in NAMED):
        yield {key: value for key, value in os.environ.items() if key.startswith(("KAFKA_", "DATABASE_", "S3_"))}
        return
    with ExitStack() as held:
        if os.environ.get("INCIDENTS_TEST_CONTAINERS") == "1" and engine_answers():
            yield container_stack(held)
        else:
            yield _local(held)
