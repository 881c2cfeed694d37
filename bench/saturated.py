"""What an event costs each process when there is always more to do: a backlog, worked off in full batches.

CPU time hardly depends on how busy others keep the machine, but the size of batches does: a process that gets a tenth
of a core sees a tenth of the events each time it looks. So the API is measured alone, and then signals are written
straight into Kafka, faster than they are decided, while worker, projector and archiver run.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from bench import accept, raw, visible
from bench.http import Connection
from bench.part import Found, Row, Scale, load_average
from bench.world import World, world

GROUPS, WARM_UP = 400, 80
BEHIND = ("worker", "projector", "archiver")
COUNTED = ("api", "kafka", "postgres", *BEHIND)


def measure(scale: Scale) -> Found:
    """A backlog to warm up, and one that counts."""
    found = Found()
    with world(("api",)) as there:
        _accepted(there, 4, 700)
        accepting, accepted = _accepted(there, scale.of(GROUPS) // len(there.tenants), 701)
        there.start(BEHIND)
        _worked_off(there, WARM_UP, 702)
        before = there.cpu()
        events = _worked_off(there, scale.of(GROUPS), 703)
        after = there.cpu()
    cost = {name: (after[name] - before[name]) / events * 1e6 for name in COUNTED}
    cost["api"] += accepting / accepted * 1e6
    whole = round(sum(cost.values()), 1)
    found.rows = [
        Row("CPU of all processes, full batches (µs/event)", f"{whole}", goal="below 150"),
        Row("of which", ", ".join(f"{name} {value:.1f}" for name, value in cost.items())),
    ]
    shown = {name: round(value, 1) for name, value in cost.items()}
    found.details["saturated"] = {"cpu_us_per_event": shown, "events": events, "load_average": load_average()}
    return found


def _accepted(there: World, groups: int, seed: int) -> tuple[float, int]:
    """CPU seconds of the API for groups of each tenant, and how many alerts these were."""
    makes = [partial(accept.batch_streams, there.api_ports[0], there.tenants, max(1, groups), seed)]
    sent, used = accept.run(there, makes)
    requests = max(1, groups) * len(there.tenants)
    accept.check(sent, requests)
    return used["api"], requests * accept.GROUP


def _worked_off(there: World, groups: int, seed: int) -> int:
    """Write the signals of so many groups and wait until the last of each tenant is visible; how many they were."""
    made = raw.records(there, groups, seed)
    raw.produce(there.kafka, there.kafka.topic("incident-intake"), made)
    last = {key.decode(): dict(headers)["ce_id"].decode() for key, _, headers in made}
    asyncio.run(_until_visible(there, last))
    return len(made)


async def _until_visible(there: World, last: dict[str, str]) -> None:
    connection = await Connection.open(there.api_ports[0])
    deadline = time.monotonic() + visible.PATIENCE_S
    for tenant in there.tenants:
        while await visible.missing(connection, tenant, [last[tenant.name]]):
            if time.monotonic() > deadline:
                raise SystemExit(f"not visible after {visible.PATIENCE_S:.0f} s: {tenant.name}")
            await asyncio.sleep(0.1)
    connection.close()
