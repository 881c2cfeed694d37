"""SIGTERM under load: every process is gone within ten seconds, and leaves nothing half done."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import psycopg

from infra.torture.children import KINDS, STOP_S
from infra.torture.evidence import Finding
from infra.torture.log import read_topic
from infra.torture.stage import Stage
from infra.torture.world import World
from projections.connections import parameters

UNDER_LOAD_S = 2.0
OPEN_S = 3.0
"""No transaction of a worker that runs stays open for so long."""

TOPIC = "incident-events"
_CUT_OFF = ("ReadError", "RemoteProtocolError", "WriteError")
"""How a request ends that was taken and not answered; a refused connection was not taken."""

_LEASED = """
SELECT count(*) FROM ops.outbox_events
WHERE state = 'pending' AND leased_until > now() AND NOT EXISTS (
  SELECT FROM pg_stat_activity WHERE application_name LIKE '%dispatcher%')
"""


@dataclass(slots=True)
class Stops:
    """Seconds and exit codes by process, and what was left behind."""

    seconds: dict[str, float] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    aborted: int = 0
    leases: int = 0
    cut_off: int = 0


async def play(stage: Stage) -> Finding:
    """Stop one kind after the other, all processes of it at once, so that nobody covers what one leaves."""
    world, seen = stage.world, Stops()
    aborted = await asyncio.to_thread(_aborted, world)
    cut_off = sum(stage.ledger.unanswered[name] for name in _CUT_OFF)
    for kind in KINDS:
        await asyncio.sleep(UNDER_LOAD_S)
        names = world.children.names(kind)
        seconds = await asyncio.gather(*(asyncio.to_thread(world.children.stop_in_order, name) for name in names))
        seen.seconds |= dict(zip(names, seconds, strict=True))
        if kind == "dispatcher":
            seen.leases = await asyncio.to_thread(_leases, world)
        await stage.probes.flow()
    seen.codes = {end.name: end.code for end in world.children.ends}
    seen.aborted = len(await asyncio.to_thread(_aborted, world) - aborted)
    seen.cut_off = sum(stage.ledger.unanswered[name] for name in _CUT_OFF) - cut_off
    return judge(seen)


def _aborted(world: World) -> set[tuple[int, int]]:
    """Where records are of transactions that were begun and never committed: what a successor had to write again."""
    written = {(one.partition, one.offset) for one in read_topic(world.kafka, TOPIC, isolation="read_uncommitted")}
    time.sleep(OPEN_S)  # what is open now is committed by then
    return written - {(one.partition, one.offset) for one in read_topic(world.kafka, TOPIC)}


def _leases(world: World) -> int:
    """Leases that outlive every dispatcher: their intents would have to wait."""
    with psycopg.connect(**parameters(world.database, "owner", "torture")) as connection:
        row = connection.execute(_LEASED).fetchone()
    return int(row[0]) if row else 0


def judge(seen: Stops) -> Finding:
    """In time, with status 0, and nothing to replay."""
    finding = Finding("SIGTERM ends every process within 10 s with nothing to replay")
    for name, seconds in seen.seconds.items():
        if seconds >= STOP_S or seen.codes.get(name) != 0:
            finding.add(f"{name} took {seconds:.1f} s and ended with {seen.codes.get(name)}")
    if not seen.seconds:
        finding.add("nothing was stopped")
    if seen.aborted:
        finding.add(f"{seen.aborted} records were written in transactions that were not committed")
    if seen.leases:
        finding.add(f"{seen.leases} intents stay leased to dispatchers that are gone")
    if seen.cut_off:
        finding.add(f"{seen.cut_off} requests were taken and not answered")
    finding.counts["stopped"] = len(seen.seconds)
    finding.counts["longest_ms"] = round(1000 * max(seen.seconds.values(), default=0.0))
    return finding
