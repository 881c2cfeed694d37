"""What is done to the world: the kinds of faults, how often, and what has to flow again afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.torture.aimed import SIGNS, aimed_faults
from infra.torture.arena import Arena, Fault
from infra.torture.children import KINDS
from infra.torture.network import network_faults
from infra.torture.waiting import NoRecovery
from infra.torture.world import World

IN_SYNC_S, FAKE_S = 180.0, 60.0
PAUSE_S = 8.0
"""Longer than the session timeout (6 s): the sleeper's partitions have moved when it wakes up."""

LEASE_PAUSE_S = 10.5
"""Longer than a lease of the outbox (9 s)."""


@asynccontextmanager
async def _killed(arena: Arena, kind: str) -> AsyncIterator[None]:
    await arena.strike(kind, signal.SIGKILL)
    yield


@asynccontextmanager
async def _stopped_in_order(arena: Arena, kind: str) -> AsyncIterator[None]:
    name = await arena.one_of(kind)
    seconds = await asyncio.to_thread(arena.world.children.stop_in_order, name)
    arena.notes.append(f"{name} stopped in {seconds:.1f} s")
    yield


@asynccontextmanager
async def _paused(arena: Arena, kind: str, seconds: float) -> AsyncIterator[None]:
    """A zombie: it sleeps for longer than its session or lease, and wakes up when others have its work."""
    name = await arena.strike(kind, signal.SIGSTOP)
    due = time.monotonic() + seconds
    arena.ledger.frozen_dispatchers += kind == "dispatcher"
    try:
        yield
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    finally:
        arena.world.children.send_signal(name, signal.SIGCONT)


@asynccontextmanager
async def _joined(arena: Arena, number: signal.Signals) -> AsyncIterator[None]:
    """A third worker comes and, when work flows again, leaves."""
    name = await asyncio.to_thread(arena.world.children.add_extra, "worker")
    try:
        yield
    finally:
        await asyncio.to_thread(arena.world.children.remove, name, number)


@asynccontextmanager
async def _server_killed(arena: Arena, name: str) -> AsyncIterator[None]:
    """A server is killed and started again at once."""
    await asyncio.to_thread(arena.world.kill_server, name)
    await asyncio.to_thread(arena.world.start_servers)
    yield


@asynccontextmanager
async def _broker_killed(arena: Arena) -> AsyncIterator[None]:
    """One of several brokers is away, most likely a leader of something; work goes on without it."""
    name = arena.rng.choice(arena.world.brokers)
    await asyncio.to_thread(arena.world.kill_server, name)
    try:
        yield
    finally:
        await asyncio.to_thread(arena.world.start_servers)
        await asyncio.to_thread(_wait_until_in_sync, arena.world)


def _wait_until_in_sync(world: World) -> None:
    """Every copy is complete: the next broker may be killed."""
    admin = AdminClient({**world.kafka.librdkafka(), "log_level": 0})
    deadline = time.monotonic() + IN_SYNC_S
    while time.monotonic() < deadline:
        if _is_in_sync(admin):
            return
        time.sleep(0.2)
    raise NoRecovery(f"the brokers are not in sync after {IN_SYNC_S:.0f} s")


def _is_in_sync(admin: AdminClient) -> bool:
    try:
        topics = admin.list_topics(timeout=10).topics.values()
    except KafkaException:  # nobody answers yet
        return False
    return all(len(p.isrs) == len(p.replicas) for topic in topics for p in topic.partitions.values())


@asynccontextmanager
async def _objects_down(arena: Arena) -> AsyncIterator[None]:
    """Object storage is away, and everything that needs none of it goes on."""
    await asyncio.to_thread(arena.world.kill_server, "objects")
    try:
        yield
    finally:
        await asyncio.to_thread(arena.world.start_servers)


@asynccontextmanager
async def _provider(arena: Arena, fault: dict[str, Any]) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=arena.world.fake_url, timeout=FAKE_S) as client:
        (await client.post("/_faults", json=fault)).raise_for_status()
    yield


PROVIDER: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}, "times": 3},
    "500": {"kind": "status", "status": 500, "times": 2},
    "closes after the work": {"kind": "drop_after", "times": 3},
    "slow": {"kind": "slow", "seconds": 2.0, "times": 3},
}

RANDOM: tuple[Fault, ...] = (
    *(
        Fault(f"kill {kind}", partial(_killed, kind=kind), SIGNS.get(kind, "flow"), weight=4, part=kind)
        for kind in KINDS
    ),
    *(
        Fault(f"stop {kind}", partial(_stopped_in_order, kind=kind), SIGNS.get(kind, "flow"), part=kind)
        for kind in KINDS
    ),
    Fault("pause worker", partial(_paused, kind="worker", seconds=PAUSE_S), weight=2, part="worker"),
    Fault("pause projector", partial(_paused, kind="projector", seconds=PAUSE_S), weight=2, part="projector"),
    Fault(
        "pause dispatcher",
        partial(_paused, kind="dispatcher", seconds=LEASE_PAUSE_S),
        "effect",
        weight=2,
        part="dispatcher",
    ),
    Fault("pause scheduler", partial(_paused, kind="scheduler", seconds=2.0), "timer", heals=True, part="scheduler"),
    Fault("pause archiver", partial(_paused, kind="archiver", seconds=PAUSE_S), "archive", part="archiver"),
    Fault("pause api", partial(_paused, kind="api", seconds=3.0), heals=True, part="api"),
    Fault("worker joins and leaves", partial(_joined, number=signal.SIGTERM), part="worker"),
    Fault("worker joins and is killed", partial(_joined, number=signal.SIGKILL), part="worker"),
    Fault("kill postgres", partial(_server_killed, name="postgres"), weight=2, part="servers"),
    Fault("objects down", _objects_down, part="servers"),
    *(
        Fault(f"provider {name}", partial(_provider, fault=fault), "effect", part="provider")
        for name, fault in PROVIDER.items()
    ),
)

ONE_BROKER = (Fault("kill kafka", partial(_server_killed, name="kafka"), weight=2, part="servers"),)
SEVERAL_BROKERS = (Fault("kill a broker", _broker_killed, weight=4, part="servers"),)


def faults(brokers: int = 1) -> tuple[Fault, ...]:
    """Every kind there is in a world with so many brokers."""
    kafka = ONE_BROKER if brokers == 1 else SEVERAL_BROKERS
    return (*RANDOM, *kafka, *network_faults(), *aimed_faults())
