"""Faults that are aimed: a process dies or freezes at a named step of its work."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from infra.torture import failpoints
from infra.torture.arena import Arena, Fault, Sign
from infra.torture.failpoints import FAILPOINTS, FailPoint
from infra.torture.waiting import NoRecovery, until
from infra.torture.world import World

HIT_S = 240.0
PROVOKE_S = 15.0
"""Longer than a process takes to come up and join its group."""

FREEZE_S = 8.0
"""Longer than the session timeout; a dispatcher's lease is longer still."""

LEASE_FREEZE_S = 10.5
SIGNS: dict[str, Sign] = {
    "dispatcher": "effect",
    "scheduler": "timer",
    "archiver": "archive",
    "poller": "poller",
    "simulator": "simulator",
}
AT_START = frozenset({"fence-before", "fence-after", "restoring", "restored", "claim-before", "claim-after"})
"""Steps that a process passes only when it is given partitions: it is killed, and dies again on its way back."""

AT_REBALANCE = frozenset({"revoking", "revoked", "releasing"})
"""Steps that a process passes only when partitions move: another one of its kind joins."""

FROZEN = ("begin-before", "commit-before", "transaction-before", "rows-written", "calling")
"""Where a zombie does most harm: it has read, and will write what others have done meanwhile."""


def aimed_faults() -> tuple[Fault, ...]:
    """A kill at every fail point, and a freeze where it could hurt."""
    kills = [
        Fault(
            f"die at {point.name}",
            partial(_struck, point=point, action="kill"),
            SIGNS.get(point.process, "flow"),
            part=_part(point, number),
        )
        for number, point in enumerate(FAILPOINTS)
    ]
    freezes = [
        Fault(
            f"freeze at {name}",
            partial(_struck, point=point, action="freeze"),
            SIGNS.get(point.process, "flow"),
            part=point.process,
        )
        for name in FROZEN
        for point in [failpoints.named(name)]
    ]
    return (*kills, *freezes)


def _part(point: FailPoint, number: int) -> str:
    """A point at which one also freezes is armed for one of both at a time: there is one file for it."""
    return point.process if number % 2 or point.name in FROZEN else f"another {point.process}"


@asynccontextmanager
async def _struck(arena: Arena, point: FailPoint, action: str) -> AsyncIterator[None]:
    """Arm the point in every process of its kind, wait until one is there, and take the others back."""
    world, names = arena.world, arena.world.children.names(point.process)
    if point.name in AT_START or action == "freeze":  # somebody has to be left to take over
        names = [arena.rng.choice(world.children.lasting(point.process))]
    for name in names:
        failpoints.arm(world.children.folder, name, point.name, action)
    async with _provoked(arena, point, names[0]):
        try:
            await until(_any_hit(world, names, point), HIT_S)
        except NoRecovery as error:
            raise NoRecovery(f"{point.name} was not reached: {error}") from error
        finally:
            hit = [name for name in names if not failpoints.disarm(world.children.folder, name, point.name)]
        arena.hit_now()
        if action == "kill":
            yield
            return
        async with _frozen(arena, hit, point):
            yield


@asynccontextmanager
async def _frozen(arena: Arena, names: list[str], point: FailPoint) -> AsyncIterator[None]:
    due = time.monotonic() + (LEASE_FREEZE_S if point.process == "dispatcher" else FREEZE_S)
    if point.process == "dispatcher":
        arena.ledger.frozen_dispatchers += 1
    try:
        yield
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    finally:
        for name in names:
            arena.world.children.send_signal(name, signal.SIGCONT)


@asynccontextmanager
async def _provoked(arena: Arena, point: FailPoint, name: str) -> AsyncIterator[None]:
    """Bring about that the step is reached, again and again; the load alone does it for most."""
    if point.name in AT_START:
        provoking = _started_again(arena, name)
    elif point.name in AT_REBALANCE:
        provoking = _joined(arena, point.process)
    else:
        provoking = _keep_going(arena.signs[SIGNS.get(point.process, "flow")])
    task = asyncio.create_task(provoking)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, NoRecovery):
            await task


async def _started_again(arena: Arena, name: str) -> None:
    """It dies, and has partitions again on its way back, unless all of them have moved meanwhile."""
    while True:
        arena.world.children.kill(name)
        await asyncio.sleep(PROVOKE_S)


async def _joined(arena: Arena, kind: str) -> None:
    """Another one of its kind joins, and leaves at the latest with the end of the fault."""
    children = arena.world.children
    while True:
        extra = children.add_extra(kind)  # in one step: nobody could end one that is cancelled half-way
        try:
            await asyncio.sleep(PROVOKE_S)
        finally:
            await asyncio.to_thread(children.remove, extra)


async def _keep_going(sign: Callable[[], Awaitable[None]]) -> None:
    """Work for whoever waits for some, one piece after the other."""
    while True:
        await sign()
        await asyncio.sleep(0.2)


def _any_hit(world: World, names: list[str], point: FailPoint) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return any(failpoints.was_hit(world.children.folder, name, point.name) for name in names)

    return look
