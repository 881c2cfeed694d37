"""An alert storm beside a calm tenant: 50,000 alerts in ten seconds, and how late somebody else's alert is.

The storm comes from 200 services of one tenant. A calm tenant of the same partition, which the workers decide in one
order with it, and one of another partition each send an alert a second; counted is from when it was due until REST
returns its row, which is asked four times a second, so that asking is no load of its own. What is answered 503 is sent
again after the Retry-After, by both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import orjson

from bench import payloads
from bench.figures import percentile
from bench.http import Connection, request
from bench.load import Load, Stream
from bench.part import Found, Row, Scale, load_average
from bench.world import World, world
from infra.torture.tenants import Tenant
from streams.runtime.partitioning import partition_of

ALERTS, SECONDS, GROUP = 50_000, 10, 100
CONNECTIONS = 4
PARTITIONS = 4
SECONDS_AFTER = 20
ASK_S, PATIENCE_S = 0.25, 120.0
ACCEPTED = 202


def measure(scale: Scale) -> Found:
    """One storm."""
    found = Found()
    with world() as there:
        stormy, *others = there.tenants
        home = partition_of(stormy.name.encode(), PARTITIONS)
        beside = next(one for one in others if partition_of(one.name.encode(), PARTITIONS) == home)
        apart = next(one for one in others if partition_of(one.name.encode(), PARTITIONS) != home)
        asyncio.run(_calm(there, beside, 3, 800))  # warms up
        load = Load([partial(streams, there.api_ports[0], stormy, scale.of(ALERTS) // GROUP)])
        late = asyncio.run(_both(there, load, beside, apart))
        [sent] = load.done()
    for name, delays in late.items():
        where = "in the same partition" if name == beside.name else "in another partition"
        found.rows.append(
            Row(
                f"storm: the calm tenant's alert, {where}, median / worst (s)",
                f"{percentile(delays, 0.5):.2f} / {max(delays):.2f}",
                f"{len(delays)} alerts, one a second",
                "2",
            )
        )
    found.figures["calm_tenant_s"] = round(max(max(delays) for delays in late.values()), 2)
    found.details["storm"] = {
        "accepted_in_s": round(sent.ended - sent.began, 1),
        "answers": {str(status): count for status, count in sent.statuses.items()},
        "delays_s": {name: [round(delay, 2) for delay in delays] for name, delays in late.items()},
        "load_average": load_average(),
    }
    return found


def streams(port: int, tenant: Tenant, groups: int) -> list[Stream]:
    """The storm, at the speed at which it is to come."""
    made = [group.request for group in payloads.groups(tenant, groups, seed=900)]
    return [Stream(tenant.name, port, made, CONNECTIONS, rate=ALERTS / GROUP / SECONDS)]


async def _both(there: World, load: Load, *calm: Tenant) -> dict[str, list[float]]:
    await asyncio.to_thread(load.go)
    seconds = SECONDS + SECONDS_AFTER
    delays = await asyncio.gather(*(_calm(there, one, seconds, 810) for one in calm))
    return {one.name: found for one, found in zip(calm, delays, strict=True)}


async def _calm(there: World, tenant: Tenant, count: int, seed: int) -> list[float]:
    """An alert a second; how many seconds after it was due each was visible."""
    began = time.monotonic()
    made = list(payloads.fresh(tenant, count, seed=seed))
    return list(await asyncio.gather(*(_one(there, tenant, one, began + n) for n, one in enumerate(made))))


async def _one(there: World, tenant: Tenant, wanted: bytes, due: float) -> float:
    await asyncio.sleep(max(0.0, due - time.monotonic()))
    connection = await Connection.open(there.api_ports[0])
    answer = await connection.send(wanted)
    while answer.status != ACCEPTED:
        await asyncio.sleep(answer.retry_after_s or 1.0)
        answer = await connection.send(wanted)
    ids: Sequence[str] = orjson.loads(answer.body)["ids"]
    body = orjson.dumps({"items": [{"source": tenant.alertmanager.source, "id": id_} for id_ in ids]})
    headers = {"Authorization": f"Bearer {tenant.viewer_token}", "Content-Type": "application/json"}
    lookup = request("POST", "/api/v1/alerts/lookup", headers, body)
    while True:
        found = await connection.send(lookup)
        if found.status == 200 and not orjson.loads(found.body)["missing"]:  # noqa: PLR2004
            break
        if time.monotonic() - due > PATIENCE_S:
            raise SystemExit(f"an alert of {tenant.name} is not visible after {PATIENCE_S:.0f} s")
        await asyncio.sleep(ASK_S)
    connection.close()
    return time.monotonic() - due
