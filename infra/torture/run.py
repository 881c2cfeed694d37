"""A run: build the world, load it, break it step by step, let it come to rest, and check every invariant."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.settings import StackSettings
from infra.torture import mending
from infra.torture.arena import Arena, Fault, Sign
from infra.torture.checks import CHECKS
from infra.torture.deck import Deck, shuffled
from infra.torture.evidence import Finding, collect
from infra.torture.faults import faults
from infra.torture.ledger import Ledger
from infra.torture.mending import NotReplayed
from infra.torture.people import People
from infra.torture.quiet import LIMIT_S, until_quiet
from infra.torture.reading import Reader
from infra.torture.recovery import Probes
from infra.torture.scenarios import SCENARIOS
from infra.torture.sender import Sender
from infra.torture.stage import Stage
from infra.torture.subscribers import Subscriber, subscribed
from infra.torture.waiting import LIMIT_S as RECOVERY_S
from infra.torture.waiting import NoRecovery
from infra.torture.world import World, build

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do; everything random in it follows from the seed.

    ``steps`` 0: each kind once. ``at_once``: so many faults, of different parts, are in force at the same time.
    ``scenarios`` are played after the steps; ``minutes`` and ``previous`` are theirs. ``quiet_s`` and ``recovery_s``
    bound the waits for rest and for work to flow again. What is not ``strict`` keeps no evidence: failing is what it is
    for.
    """

    steps: int
    seed: int
    kinds: tuple[Fault, ...] = field(default_factory=faults)
    rate: float = 10.0
    brokers: int = 1
    planted: tuple[str, ...] = ()
    breather_s: float = 0.5
    at_once: int = 1
    scenarios: tuple[str, ...] = ()
    minutes: float = 10.0
    previous: str = "HEAD~1"
    quiet_s: float = LIMIT_S
    recovery_s: float = RECOVERY_S
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: how long until work flowed again (from the fault, or from its healing), and what is worth telling."""

    number: int
    fault: str
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """Everything that a run found; ``load`` is the machine's load average after each step."""

    plan: Plan
    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0
    accepted: int = 0
    load: list[float] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """Over all invariants."""
        return sum(len(finding.violations) for finding in self.findings)

    def count(self, name: str) -> int:
        """A count over all invariants."""
        return sum(finding.counts[name] for finding in self.findings)


def home_of(seed: int) -> Path:
    """The folder of a run, in the home of this checkout."""
    return StackSettings().home / "torture" / str(seed)


def torture(plan: Plan, report: Report) -> Outcome:
    """Run a plan. Data is deleted at the end; logs and evidence stay where something was violated.

    Raises ``StackError`` when the world cannot be built.
    """
    began = time.monotonic()
    home = home_of(plan.seed)
    outcome = Outcome(plan)
    with ExitStack() as held:
        world = build(home, held, report, brokers=plan.brokers, planted=plan.planted)
        data = [home / server.name for server in world.stack.servers]
        asyncio.run(_play(world, plan, outcome, report))
    for folder in data:
        shutil.rmtree(folder.resolve(), ignore_errors=True)
    outcome.seconds = round(time.monotonic() - began, 1)
    if not (outcome.violations and plan.strict):
        shutil.rmtree(home)
    return outcome


async def _play(world: World, plan: Plan, outcome: Outcome, report: Report) -> None:
    ledger = Ledger()
    replayed: dict[str, str] = {}
    sender = Sender(world, ledger, plan.seed, plan.rate)
    async with subscribed(world.tenants, world.base_url, plan.seed) as subscribers:
        try:
            async with sender.running() as client:
                reader = Reader(client, world.tenants)
                probes = Probes(world, sender, reader, limit_s=plan.recovery_s)
                async with probes.running(), People(sender, reader).running():
                    if plan.kinds:
                        await _steps(world, probes, plan, outcome, report)
                    stage = Stage(world, sender, reader, probes, report, plan.minutes, plan.previous)
                    for name in plan.scenarios:
                        report(f"scenario {name}")
                        outcome.findings.append(await SCENARIOS[name](stage))
            report("waiting until all is quiet")
            await until_quiet(world, subscribers, report, plan.quiet_s)
            report("replaying dead letters after a fix")
            replayed = await asyncio.to_thread(mending.replay, world)
            await until_quiet(world, subscribers, report, plan.quiet_s)
        except (NoRecovery, NotReplayed) as error:
            stuck = Finding("work flows again after every fault")
            stuck.add(str(error))
            outcome.findings.append(stuck)
            with suppress(NoRecovery):  # so that the invariants are not blamed for what is merely unfinished
                await until_quiet(world, subscribers, report, plan.quiet_s / 2)
        report("checking")
        outcome.findings += await asyncio.to_thread(_check, world, ledger, subscribers, replayed)
        outcome.accepted = ledger.accepted.total()


async def _steps(world: World, probes: Probes, plan: Plan, outcome: Outcome, report: Report) -> None:
    """Go through the deck; ``at_once`` hands take from it."""
    rng = random.Random(plan.seed)  # noqa: S311  a run that can be repeated
    dealt = shuffled(plan.kinds, plan.steps or len(plan.kinds), rng)
    deck = Deck(dealt)
    signs: dict[Sign, Callable[[], Awaitable[None]]]
    signs = {"flow": probes.flow, "effect": probes.effect, "timer": probes.timer}

    async def hand() -> None:
        while (taken := await deck.take()) is not None:
            number, fault = taken
            own = random.Random(f"{plan.seed}-{number}")  # noqa: S311  whatever else happens at the same time
            arena = Arena(world, probes.sender.ledger, own, signs)
            try:
                seconds = await _suffer(fault, arena, plan.recovery_s)
            except NoRecovery as error:
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


def _check(
    world: World, ledger: Ledger, subscribers: Sequence[Subscriber], replayed: Mapping[str, str]
) -> list[Finding]:
    evidence = collect(world, ledger, subscribers, replayed)
    return [check(evidence) for check in CHECKS]
