"""The broker cannot write any more: health says so, new work is refused, and none that was taken is lost.

The kernel refuses its writes by a limit on the size of files (``EFBIG`` where a full disk gives ``ENOSPC``: to the
broker both are an ``IOException`` of an append, after which it gives the folder up). No mount is needed for that.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from infra.local.processes import find, read_record
from infra.torture.evidence import Finding
from infra.torture.stage import Stage
from infra.torture.waiting import until

NAME = "kafka"
NOTICED_S, FULL_S = 60.0, 15.0


@dataclass(slots=True)
class Full:
    """What was seen while nothing could be written: the API's answers to webhooks, and what health said."""

    answers: Counter[int] = field(default_factory=Counter)
    ready: list[int] = field(default_factory=list)
    kafka: list[str] = field(default_factory=list)


async def play(stage: Stage) -> Finding:
    """Take the room away, look, and give it back."""
    world, ledger, seen = stage.world, stage.ledger, Full()
    record = read_record(world.settings.record_file(NAME))
    assert record is not None
    resource.prlimit(record.pid, resource.RLIMIT_FSIZE, (0, 0))
    try:

        async def is_said() -> bool:
            status, _ = await stage.reader.health()
            return find(record) is None and status != httpx.codes.OK

        await until(is_said, NOTICED_S)
        before = Counter(ledger.answers)
        due = time.monotonic() + FULL_S
        while time.monotonic() < due:
            status, checks = await stage.reader.health()
            seen.ready.append(status)
            seen.kafka.append(checks.get("kafka", "no answer"))
            await asyncio.sleep(1)
        seen.answers = Counter(ledger.answers) - before
    finally:
        await asyncio.to_thread(world.kill_server, NAME)
        await asyncio.to_thread(world.start_servers)
    await stage.probes.flow()
    return judge(seen)


def judge(seen: Full) -> Finding:
    """Every answer is a refusal, and health names Kafka each time."""
    finding = Finding("a broker that cannot write is said by health, and new work is refused")
    taken = {status: count for status, count in seen.answers.items() if status != httpx.codes.SERVICE_UNAVAILABLE}
    if taken:
        finding.add(f"answers while nothing could be written: {taken}")
    if not seen.answers:
        finding.add("nothing was sent while nothing could be written")
    if set(seen.ready) != {httpx.codes.SERVICE_UNAVAILABLE} or "ok" in seen.kafka:
        finding.add(f"health said {seen.ready}, of Kafka {set(seen.kafka)}")
    finding.counts["refused"] = seen.answers[httpx.codes.SERVICE_UNAVAILABLE]
    return finding
