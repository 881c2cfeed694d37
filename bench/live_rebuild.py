"""A rebuild of all read models under live load: how long it takes, and what readers and subscribers notice of it.

    python -m bench.live_rebuild [--events 1000000] [--rate 50]

The record is written into Kafka and projected first. Then two tenants get alerts at a steady rate, are read all the
time and followed over SSE, while ``incidents rebuild`` fills, compares and swaps. An answer that is no 200, an incident
that is missing, an alert that no subscriber saw or a digest that differs is counted, not hidden. The archiver does not
run: the synthetic record has no chain that it could sign. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from bench import payloads, visible
from bench.figures import milliseconds
from bench.http import Connection, request
from bench.part import load_average
from bench.record import write
from bench.streams import Arrivals, sse
from bench.world import EVERYTHING, ROOT, World, world
from infra.torture.tenants import Tenant
from projections.connections import connect
from streams.runtime.log_reader import LogReader

TENANTS, MOST, PAGE = 2, 100_000, 100
KINDS = tuple(kind for kind in EVERYTHING if kind != "archiver")
_BEHIND = """
SELECT coalesce(min(next_offset), 0) FROM ops.projection_checkpoints
WHERE topic = 'incident-events' AND partition = %s
"""


@dataclass(slots=True)
class Noticed:
    """What the tenants' people saw."""

    ended: bool = False
    statuses: Counter[str] = field(default_factory=Counter)
    reads: list[float] = field(default_factory=list)
    lost: int = 0
    accepted: dict[str, list[str]] = field(default_factory=dict)
    arrived: dict[str, Arrivals] = field(default_factory=dict)


async def _send(there: World, tenant: Tenant, rate: float, noticed: Noticed) -> None:
    connection = await Connection.open(there.api_ports[0])
    began, ids = time.monotonic(), noticed.accepted.setdefault(tenant.name, [])
    for number, body in enumerate(payloads.fresh(tenant, MOST, seed=7, services=20)):
        if noticed.ended:
            break
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        answer = await connection.send(body)
        noticed.statuses[f"accept {answer.status}"] += 1
        ids += orjson.loads(answer.body).get("ids", ())
    connection.close()


async def _read(there: World, tenant: Tenant, noticed: Noticed) -> None:
    """Lists, one incident and its timeline; an incident that was there once must stay."""
    connection = await Connection.open(there.api_ports[0])
    headers = {"Authorization": f"Bearer {tenant.viewer_token}"}
    known: list[str] = []
    while not noticed.ended:
        name = known[len(noticed.reads) % len(known)] if known else ""
        paths = [
            f"/api/v1/incidents?limit={PAGE}",
            *(f"/api/v1/incidents/{name}{part}" for part in ("", "/timeline") if name),
        ]
        for path in paths:
            began = time.monotonic()
            answer = await connection.send(request("GET", path, headers))
            noticed.reads.append(time.monotonic() - began)
            noticed.statuses[f"read {answer.status}"] += 1
            if path.startswith("/api/v1/incidents?"):
                listed = [one["id"] for one in orjson.loads(answer.body)["items"]]
                noticed.lost += len(set(known) - set(listed)) if len(listed) < PAGE else 0
                known = listed
        await asyncio.sleep(0.02)
    connection.close()


async def _under_load(there: World, rate: float) -> tuple[dict[str, object], float, Noticed]:
    """Rebuild while the tenants are served; the command's report, its seconds, and what was noticed."""
    noticed, tenants = Noticed(), there.tenants[:TENANTS]
    followers = [
        asyncio.create_task(sse(there.api_ports[0], one, noticed.arrived.setdefault(one.name, {}))) for one in tenants
    ]
    await asyncio.sleep(1)
    busy = [asyncio.create_task(_send(there, one, rate / TENANTS, noticed)) for one in tenants]
    await asyncio.sleep(3)
    busy += [asyncio.create_task(_read(there, one, noticed)) for one in tenants]
    began = time.monotonic()
    command = [sys.executable, "-m", "cli.main", "rebuild", "--yes", "--json"]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ | there.values, stdout=subprocess.PIPE
    )
    out, _ = await child.communicate()
    seconds = time.monotonic() - began
    await asyncio.sleep(3)
    noticed.ended = True
    await asyncio.gather(*busy)
    await _arrive(there, tenants, noticed)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    return orjson.loads(out.splitlines()[-1]), seconds, noticed


async def _arrive(there: World, tenants: Sequence[Tenant], noticed: Noticed) -> None:
    """Wait until every accepted alert has its row, and subscribers have had a moment more."""
    connection = await Connection.open(there.api_ports[0])
    for tenant in tenants:
        ids = noticed.accepted[tenant.name]
        deadline = time.monotonic() + visible.PATIENCE_S
        for start in range(0, len(ids), visible.LOOKUP):
            while lost := await visible.missing(connection, tenant, ids[start : start + visible.LOOKUP]):
                if time.monotonic() > deadline:
                    raise SystemExit(f"{lost} accepted alerts of {tenant.name} have no row")
                await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    connection.close()


def measure(there: World, events: int, rate: float) -> dict[str, object]:
    """One run; the figures."""
    with LogReader(there.kafka, "incident-events") as reader:
        write(there.kafka, events, 40, len(reader.spans()))
        ends = {number: span.end for number, span in reader.spans().items()}
    with connect(there.database, "owner", name="bench", autocommit=True) as owner:
        deadline = time.monotonic() + visible.PATIENCE_S
        for number, end in ends.items():
            while (at := (owner.execute(_BEHIND, [number]).fetchone() or (0,))[0]) < end:
                if time.monotonic() > deadline:
                    raise SystemExit(f"partition {number} is projected to {at} of {end}")
                time.sleep(1)
    report, seconds, noticed = asyncio.run(_under_load(there, rate))
    accepted = {id_ for ids in noticed.accepted.values() for id_ in ids}
    streamed = {id_ for arrivals in noticed.arrived.values() for id_ in arrivals}
    return {
        "report": report,
        "seconds_in_all": round(seconds, 1),
        "accepted": len(accepted),
        "not_streamed": len(accepted - streamed),
        "incidents_missing": noticed.lost,
        "answers": dict(noticed.statuses),
        "read_ms": milliseconds(noticed.reads),
        "load_average": load_average(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A rebuild under live load")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=50.0, help="alerts a second, over all tenants")
    arguments = parser.parse_args()
    with world(KINDS) as there:
        print(orjson.dumps(measure(there, arguments.events, arguments.rate)).decode())


if __name__ == "__main__":
    main()
