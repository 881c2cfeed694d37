"""The steps of a run: faults, each until there is a sign of life again."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial

from infra.local.errors import StackError
from infra.torture.arena import Arena, Fault, Sign
from infra.torture.deck import Deck, shuffled
from infra.torture.plan import Outcome, Plan, Step
from infra.torture.recovery import Probes
from infra.torture.waiting import NoRecovery
from infra.torture.world import World


async def go_through(world: World, probes: Probes, plan: Plan, outcome: Outcome, report: Callable[[str], None]) -> None:
    """Go through the plan's deck; ``at_once`` hands take from it. Raises ``NoRecovery``."""
    rng = random.Random(plan.seed)  # noqa: S311  a run that can be repeated
    dealt = shuffled(plan.kinds, plan.steps or len(plan.kinds), rng)
    deck = Deck(dealt)
    signs: dict[Sign, Callable[[], Awaitable[None]]]
    signs = {
        "flow": probes.flow,
        "effect": probes.effect,
        "timer": probes.timer,
        "archive": probes.archived,
        "poller": partial(probes.ready, "poller"),
        "simulator": partial(probes.ready, "simulator"),
    }

    async def hand() -> None:
        while (taken := await deck.take()) is not None:
            number, fault = taken
            own = random.Random(f"{plan.seed}-{number}")  # noqa: S311  whatever else happens at the same time
            arena = Arena(world, probes.sender.ledger, own, signs)
            try:
                seconds = await _suffer(fault, arena, plan.recovery_s)
            except (NoRecovery, StackError) as error:  # a server that does not come back ends the run with a verdict
                raise NoRecovery(f"step {number}, {fault.name}: {error}") from error
            outcome.steps.append(Step(number, fault.name, round(seconds, 2), tuple(arena.notes)))
            notes = "".join(f"; {note}" for note in arena.notes)
            report(f"{len(outcome.steps)}/{len(dealt)} {fault.name}: works again after {seconds:.1f} s{notes}")
            world.children.sample_memory()
            outcome.load.append(os.getloadavg()[0])
            await asyncio.sleep(own.random() * plan.breather_s)
            await deck.give_back(fault.part)

    try:
        async with asyncio.TaskGroup() as hands:
            for _ in range(plan.at_once):
                hands.create_task(hand())
    except* NoRecovery as errors:
        raise NoRecovery(str(errors.exceptions[0])) from errors


async def _suffer(fault: Fault, arena: Arena, limit_s: float) -> float:
    """Go through a fault; the seconds until its sign of life. Raises ``NoRecovery`` where it has none in time."""
    async with fault.active(arena):
        if not fault.heals:
            await _sign(fault, arena, limit_s)
            return time.monotonic() - arena.struck
    arena.hit_now()
    await _sign(fault, arena, limit_s)
    return time.monotonic() - arena.struck


async def _sign(fault: Fault, arena: Arena, limit_s: float) -> None:
    """Whatever it is that hangs: the whole way has so long to work again."""
    try:
        async with asyncio.timeout(limit_s):
            await arena.signs[fault.sign]()
    except TimeoutError as error:
        raise NoRecovery(f"no sign of life within {limit_s:.0f} s") from error
