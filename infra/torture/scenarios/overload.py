"""More comes in than can be decided: senders are told to come back, people are served, and memory stays bounded."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass

from infra.torture.checks.processes import MEMORY_LIMIT
from infra.torture.evidence import Finding
from infra.torture.load import batch
from infra.torture.stage import Stage

SENDERS, BATCH = 8, 500
LIMIT_S, HELD_S = 60.0, 3.0
"""The flood ends when senders have been held back for a while, or after so long."""

_UNAVAILABLE = 503


@dataclass(slots=True)
class Flood:
    """Alerts accepted, refusals, whether people were served meanwhile, the largest process, and who ended."""

    accepted: int = 0
    refused: int = 0
    commands: int = 0
    peak_bytes: int = 0
    unordered_ends: int = 0


async def play(stage: Stage) -> Finding:
    """The deciders sleep while one tenant sends as fast as it can."""
    world, ledger, seen = stage.world, stage.ledger, Flood()
    before, refused, ends = ledger.accepted.total(), ledger.answers[_UNAVAILABLE], len(world.children.ends)
    commands = len(ledger.commands)
    workers = world.children.names("worker")
    over = asyncio.Event()
    for name in workers:
        world.children.send_signal(name, signal.SIGSTOP)
    senders = [asyncio.create_task(_flood(stage, number, over)) for number in range(SENDERS)]
    try:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and ledger.answers[_UNAVAILABLE] == refused:
            await asyncio.sleep(0.1)
            world.children.sample_memory()
        await asyncio.sleep(HELD_S)
        seen.refused = ledger.answers[_UNAVAILABLE] - refused
    finally:
        over.set()
        for name in workers:
            world.children.send_signal(name, signal.SIGCONT)
    await asyncio.gather(*senders)  # what was held back is sent again until it is taken
    await stage.probes.flow()
    world.children.sample_memory()
    seen.accepted = ledger.accepted.total() - before
    seen.commands = len(ledger.commands) - commands
    seen.peak_bytes = max(world.children.peak_bytes.values())
    seen.unordered_ends = sum(not end.ordered and end.name not in workers for end in world.children.ends[ends:])
    return judge(seen)


async def _flood(stage: Stage, number: int, over: asyncio.Event) -> None:
    tenant, count = stage.world.tenants[0], 0
    while not over.is_set():
        count += 1
        await stage.sender.deliver(stage.reader.client, batch(tenant, f"flood-{number}-{count}", BATCH))


def judge(seen: Flood) -> Finding:
    """That each refusal is a 503 with Retry-After is for the invariants to say, and that nothing accepted is lost."""
    finding = Finding("overload is answered 503 with Retry-After, people are served, memory stays bounded")
    if not seen.refused:
        finding.add(f"nobody was held back though {seen.accepted} alerts waited")
    if not seen.commands:
        finding.add("no command was served")
    if seen.peak_bytes > MEMORY_LIMIT:
        finding.add(f"a process took {seen.peak_bytes // 2**20} MB")
    if seen.unordered_ends:
        finding.add(f"{seen.unordered_ends} processes ended by themselves")
    finding.counts["accepted"] = seen.accepted
    finding.counts["held_back"] = seen.refused
    finding.counts["peak_mb"] = seen.peak_bytes // 2**20
    return finding
