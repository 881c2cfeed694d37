"""Faults of the ways between the application and its servers: cut, slow, silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

from infra.torture.arena import Arena, Fault
from infra.torture.proxy import Conditions, ThreadedProxy

CUT_S, SILENT_S, LOST_S = 3.0, 8.0, 2.0
SLOW = Conditions(delay_s=0.05)
SILENT = Conditions(held="everything")
LOST = Conditions(held="answers")
Server = Literal["kafka", "postgres"]


def network_faults() -> tuple[Fault, ...]:
    """Each fault on the way to each server."""
    found = []
    for server in ("kafka", "postgres"):
        silent = partial(_silenced, server=server, conditions=SILENT, seconds=SILENT_S)
        lost = partial(_silenced, server=server, conditions=LOST, seconds=LOST_S)
        found += [
            Fault(f"{server} cut off", partial(_cut, server=server), heals=True, part="servers"),
            Fault(f"{server} slow", partial(_conditions, server=server, conditions=SLOW), part="servers"),
            Fault(f"{server} silent", silent, heals=True, part="servers"),
            Fault(f"{server} answers lost", lost, heals=True, part="servers"),
        ]
    return tuple(found)


def _ways(arena: Arena, server: str) -> list[ThreadedProxy]:
    return [way for name, way in arena.world.ways.items() if name.startswith(server)]


@asynccontextmanager
async def _cut(arena: Arena, server: str) -> AsyncIterator[None]:
    ways = _ways(arena, server)
    for way in ways:
        await asyncio.to_thread(way.cut)
    try:
        await asyncio.sleep(CUT_S)
        yield
    finally:
        for way in ways:
            await asyncio.to_thread(way.mend)


@asynccontextmanager
async def _conditions(arena: Arena, server: str, conditions: Conditions) -> AsyncIterator[None]:
    ways = _ways(arena, server)
    for way in ways:
        way.set(conditions)
    try:
        yield
    finally:
        for way in ways:
            await asyncio.to_thread(way.mend)


@asynccontextmanager
async def _silenced(arena: Arena, server: str, conditions: Conditions, seconds: float) -> AsyncIterator[None]:
    """What is held back is never delivered: the connections break before the way is mended."""
    async with _conditions(arena, server, conditions):
        await asyncio.sleep(seconds)
        for way in _ways(arena, server):
            await asyncio.to_thread(way.reset)
        yield
