"""PostgreSQL is away for minutes under load: what comes in is taken all the while, and caught up with afterwards."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import httpx

from infra.torture.evidence import Finding
from infra.torture.stage import Stage

SAMPLE_S = 5.0
CATCH_UP_S = 150.0


@dataclass(slots=True)
class Outage:
    """What was seen: deliveries accepted while it lasted and health's answers; seconds until all was shown again."""

    minutes: float
    accepted: int = 0
    ready: list[int] = field(default_factory=list)
    unordered_ends: int = 0
    catch_up_s: float = 0.0


async def play(stage: Stage) -> Finding:
    """Kill it, wait, start it again."""
    world, seen = stage.world, Outage(stage.minutes)
    before, ends = stage.ledger.accepted.total(), len(world.children.ends)
    await asyncio.to_thread(world.kill_server, "postgres")
    due = time.monotonic() + 60 * stage.minutes
    try:
        while time.monotonic() < due:
            await asyncio.sleep(min(SAMPLE_S, max(0.0, due - time.monotonic())))
            status, _ = await stage.reader.health()
            seen.ready.append(status)
            world.children.sample_memory()
        seen.accepted = stage.ledger.accepted.total() - before
    finally:
        await asyncio.to_thread(world.start_servers)
    back = time.monotonic()
    await stage.probes.flow()
    seen.catch_up_s = time.monotonic() - back
    seen.unordered_ends = sum(not end.ordered for end in world.children.ends[ends:])
    return judge(seen)


def judge(seen: Outage) -> Finding:
    """Nothing lost is for the invariants to say; here: work was taken, health said it, and it was caught up with."""
    finding = Finding(
        f"PostgreSQL away for {seen.minutes:g} minutes: accepted meanwhile, said by health, caught up with"
    )
    if not seen.accepted:
        finding.add("nothing was accepted while PostgreSQL was away")
    if any(status != httpx.codes.SERVICE_UNAVAILABLE for status in seen.ready[1:]):  # the first may be too early
        finding.add(f"health said {seen.ready} while PostgreSQL was away")
    if not seen.ready:
        finding.add("health was never asked")
    if seen.catch_up_s > CATCH_UP_S:
        finding.add(f"new work was shown only {seen.catch_up_s:.0f} s after PostgreSQL came back")
    if seen.unordered_ends:
        finding.add(f"{seen.unordered_ends} processes ended by themselves")
    finding.counts["accepted_meanwhile"] = seen.accepted
    finding.counts["caught_up_ms"] = round(1000 * seen.catch_up_s)
    return finding
