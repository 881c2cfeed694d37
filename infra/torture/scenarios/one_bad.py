"""One bad record in a thousand does not hold the others up."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field

from infra.torture.evidence import Finding
from infra.torture.ledger import Id
from infra.torture.load import batch
from infra.torture.people import put_undecodable
from infra.torture.stage import Stage
from infra.torture.waiting import until

ROUNDS, HALF = 5, 500
TIMES, SLACK_S = 2.0, 1.0
"""A poisoned thousand may take so many times as long as a clean one, and so much more: less than any retry takes."""


@dataclass(slots=True)
class Times:
    """Seconds from the first of a thousand alerts to the last of them shown."""

    clean: list[float] = field(default_factory=list)
    poisoned: list[float] = field(default_factory=list)
    ends: int = 0


async def play(stage: Stage) -> Finding:
    """Clean and poisoned thousands in turn, each of another tenant."""
    seen, ends = Times(), len(stage.world.children.ends)
    for number in range(ROUNDS):
        seen.clean.append(await _thousand(stage, number, poisoned=False))
        seen.poisoned.append(await _thousand(stage, number, poisoned=True))
    seen.ends = len(stage.world.children.ends) - ends
    return judge(seen)


async def _thousand(stage: Stage, number: int, *, poisoned: bool) -> float:
    tenant = stage.world.tenants[number % len(stage.world.tenants)]
    name = f"thousand-{number}-{'poisoned' if poisoned else 'clean'}"
    began = time.monotonic()
    first, second = batch(tenant, f"{name}-1", HALF), batch(tenant, f"{name}-2", HALF)
    await stage.sender.deliver(stage.reader.client, first)
    if poisoned:
        await asyncio.to_thread(put_undecodable, stage.sender, Id(tenant.name, "/torture/raw", name), number % 3)
    await stage.sender.deliver(stage.reader.client, second)
    ids = [Id(tenant.name, one.source, f"{one.source.removeprefix('/torture/')}/{place}/firing")
           for one in (first, second) for place in range(HALF)]  # fmt: skip

    async def are_shown() -> bool:
        return not await stage.reader.missing(ids)

    await until(are_shown)
    return time.monotonic() - began


def judge(seen: Times) -> Finding:
    """The medians are compared; that the bad one is dead-lettered and the others attached is for the invariants."""
    finding = Finding("one bad record in 1,000 does not hold up the others")
    clean, poisoned = statistics.median(seen.clean), statistics.median(seen.poisoned)
    if poisoned > TIMES * clean + SLACK_S:
        finding.add(f"1,000 alerts took {poisoned:.2f} s with a bad one among them and {clean:.2f} s without")
    if seen.ends:
        finding.add(f"{seen.ends} processes ended meanwhile")
    finding.counts["clean_ms"], finding.counts["poisoned_ms"] = round(1000 * clean), round(1000 * poisoned)
    return finding
