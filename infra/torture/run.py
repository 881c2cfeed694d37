"""A run: build the world, load it, break it step by step, let it come to rest, and check every invariant."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from infra.local.settings import StackSettings
from infra.torture import mending
from infra.torture.checks import CHECKS
from infra.torture.children import KINDS
from infra.torture.evidence import Finding, collect
from infra.torture.ledger import Ledger
from infra.torture.mending import NotReplayed
from infra.torture.people import People
from infra.torture.plan import Outcome, Plan
from infra.torture.quiet import until_quiet
from infra.torture.reading import Reader
from infra.torture.recovery import Probes
from infra.torture.scenarios import SCENARIOS
from infra.torture.sender import Sender
from infra.torture.stage import Stage
from infra.torture.steps import go_through
from infra.torture.subscribers import Subscriber, subscribed
from infra.torture.waiting import NoRecovery
from infra.torture.world import World, build

FLOWS = "work flows again after every fault"

Report = Callable[[str], None]


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
    sender = Sender(world, ledger, plan.seed, plan.rate, plan.repeated)
    async with subscribed(world.tenants, world.base_url, plan.seed) as subscribers:
        try:
            async with sender.running() as client:
                reader = Reader(client, world.tenants)
                probes = Probes(world, sender, reader, limit_s=plan.recovery_s)
                async with probes.running(), People(sender, reader).running():
                    if plan.kinds:
                        await go_through(world, probes, plan, outcome, report)
                    stage = Stage(world, sender, reader, probes, report, plan.minutes, plan.previous)
                    for name in plan.scenarios:
                        for kind in KINDS:  # what the one before has ended is back
                            await probes.ready(kind)
                        report(f"scenario {name}")
                        outcome.findings.append(await SCENARIOS[name](stage))
            report("waiting until all is quiet")
            await until_quiet(world, subscribers, report, plan.quiet_s)
            report("replaying dead letters after a fix")
            replayed = await asyncio.to_thread(mending.replay, world)
            await until_quiet(world, subscribers, report, plan.quiet_s)
        except (NoRecovery, NotReplayed) as error:
            stuck = Finding(FLOWS)
            stuck.add(str(error))
            outcome.findings.append(stuck)
            with suppress(NoRecovery):  # so that the invariants are not blamed for what is merely unfinished
                await until_quiet(world, subscribers, report, plan.quiet_s / 2)
        report("checking")
        outcome.findings += await asyncio.to_thread(_check, world, ledger, subscribers, replayed)
        outcome.accepted = ledger.accepted.total()


def _check(
    world: World, ledger: Ledger, subscribers: Sequence[Subscriber], replayed: Mapping[str, str]
) -> list[Finding]:
    evidence = collect(world, ledger, subscribers, replayed)
    return [check(evidence) for check in CHECKS]
