"""Waiting until all is quiet: everything decided, projected, carried out and shown to subscribers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import orjson
import psycopg
from confluent_kafka import KafkaException

from infra.torture.log import ends_of, read_topic
from infra.torture.subscribers import Subscriber
from infra.torture.waiting import NoRecovery
from infra.torture.world import World
from projections.connections import parameters
from streams.runtime.partition import POSITION

LIMIT_S = 180.0
SAY_EVERY_S = 10.0
STILL_S = 2.0
"""Nothing may have moved for so long."""

_PENDING = """
SELECT (SELECT count(*) FROM ops.outbox_events WHERE state = 'pending'),
       (SELECT count(*) FROM ops.timers WHERE state = 'pending'),
       (SELECT coalesce(sum(last), 0) FROM (SELECT max(tenantsequence) AS last FROM read.timeline_entries
                                            GROUP BY tenant_id) AS heads)
"""


async def until_quiet(
    world: World, subscribers: Sequence[Subscriber], report: Callable[[str], None], limit_s: float = LIMIT_S
) -> None:
    """Return once nothing moves any more and nothing waits; raises ``NoRecovery`` that names what still does."""
    deadline = time.monotonic() + limit_s
    said = time.monotonic()
    last, since, waiting = "", time.monotonic(), "nothing was looked at"
    while True:
        try:
            now, waiting = await asyncio.to_thread(_look, world, subscribers)
        except (psycopg.Error, KafkaException) as error:
            now, waiting = "", str(error)
        if now != last or waiting:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= STILL_S:
            return
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            report(f"waiting: {waiting or now}")
        if time.monotonic() > deadline:
            raise NoRecovery(f"not quiet after {limit_s:.0f} s: {waiting or 'something still moves'}")
        await asyncio.sleep(0.3)


def _look(world: World, subscribers: Sequence[Subscriber]) -> tuple[str, str]:
    """Where everything stands, and what waits for something (empty: nothing)."""
    intake, events = ends_of(world.kafka, "incident-intake"), _events_by_tenant(world)
    with psycopg.connect(**parameters(world.database, "owner", "torture")) as connection:
        row = connection.execute(_PENDING).fetchone()
    assert row is not None
    pending, timers, shown = row
    waiting = []
    if shown != sum(events.values()):
        waiting.append(f"the timeline shows {shown} of {sum(events.values())} events")
    if pending:
        waiting.append(f"{pending} intents are pending")
    if timers:
        waiting.append(f"{timers} timers are pending")
    behind = [
        f"{one.transport} of {one.tenant} at {one.last} of {events.get(one.tenant, 0)}"
        for one in subscribers
        if one.last < events.get(one.tenant, 0)
    ]
    if behind:
        waiting.append(f"subscribers are behind: {', '.join(behind[:3])}")
    undecided = _undecided(world, intake)
    if undecided:
        waiting.append(undecided)
    return f"{sorted(intake.items())} {sorted(events.items())}", "; ".join(waiting)


def _events_by_tenant(world: World) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in read_topic(world.kafka, "incident-events"):
        tenant = (record.key or b"").decode()
        found[tenant] = found.get(tenant, 0) + 1
    return found


def _undecided(world: World, ends: Mapping[int, int]) -> str:
    """Which partitions of the intake have records behind the position of their state."""
    positions = dict.fromkeys(ends, 0)
    for record in read_topic(world.kafka, "orchestrator-state"):
        if record.key == POSITION and record.value is not None:
            positions[record.partition] = orjson.loads(record.value)[1]
    behind = [f"{n} at {positions[n]} of {end}" for n, end in ends.items() if positions[n] < end]
    return f"the intake is not decided: {', '.join(behind)}" if behind else ""
