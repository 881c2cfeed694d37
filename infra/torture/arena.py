"""What faults act on, and what a kind of fault is."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal

from infra.torture.ledger import Ledger
from infra.torture.world import World

Sign = Literal["flow", "effect", "timer", "archive", "poller", "simulator"]
"""What must work again: the whole way, the outbox, the timers, the archive, or a process of a kind is ready."""

_LOOK_S = 0.02


@dataclass(slots=True)
class Arena:
    """One step: ``note`` collects what is worth telling, ``struck`` is when the fault hit (``time.monotonic``)."""

    world: World
    ledger: Ledger
    rng: random.Random
    signs: Mapping[Sign, Callable[[], Awaitable[None]]]
    notes: list[str] = field(default_factory=list)
    struck: float = field(default_factory=time.monotonic)

    async def one_of(self, kind: str) -> str:
        """A process of a kind that is alive and awake, as soon as there is one."""
        children = self.world.children
        while True:
            awake = [name for name in children.names(kind) if children.is_awake(name)]
            if awake:
                return self.rng.choice(awake)
            await asyncio.sleep(_LOOK_S)

    async def strike(self, kind: str, number: signal.Signals) -> str:
        """Send a signal to a process of a kind; its name."""
        while True:
            name = await self.one_of(kind)
            if self.world.children.send_signal(name, number):
                self.hit_now()
                return name

    def hit_now(self) -> None:
        """The time until work flows again counts from here."""
        self.struck = time.monotonic()


Active = Callable[[Arena], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind: while ``active`` it is in force, and when it is left it is healed.

    ``sign`` is what must work again; with ``heals`` the time counts from the healing, since nothing can before.
    ``part`` is what it is done to: faults of different parts can be in force together.
    """

    name: str
    active: Active
    sign: Sign = "flow"
    heals: bool = False
    weight: int = 1
    part: str = "elsewhere"
