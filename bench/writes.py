"""Writes with their outcome: notes and changes of severity, answered once the decision is there and reads show it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import orjson

from bench import accept
from bench.figures import median, milliseconds, spread
from bench.http import Connection, request
from bench.load import Load, Stream
from bench.part import Found, Row, Scale, load_average
from bench.world import World, world
from infra.torture.tenants import Tenant

CONNECTIONS = 8
INCIDENTS = 20


def measure(scale: Scale) -> Found:
    """Closed loop, 64 connections over 8 tenants."""
    found = Found()
    with world() as there:
        names = asyncio.run(_declared(there))
        speeds, latencies = [], []
        for number in range(scale.rounds + 1):
            count = scale.of(400) if number else 40
            makes = [partial(streams, there.api_ports[0], there.tenants, names, count, number)]
            load = Load(makes)
            load.go()
            sent = load.done()
            statuses = sent[0].statuses
            if set(statuses) - {200, 201}:
                raise SystemExit(f"not every write had its outcome: {statuses}")
            if number:
                speeds.append(count * len(there.tenants) / accept.elapsed(sent))
                latencies.append(milliseconds(sent[0].latencies))
    p99 = [one["p99"] for one in latencies]
    found.figures["writes_rps"] = median(speeds)
    found.rows = [
        Row("writes with their outcome (requests/s)", f"{median(speeds):,}", spread(speeds), "200"),
        Row(
            "their p50 / p99 (ms), 64 connections",
            f"{median([one['p50'] for one in latencies], 1)} / {median(p99, 1)}",
            spread(p99, 1),
        ),
    ]
    found.details["writes"] = {"load_average": load_average()}
    return found


async def _declared(there: World) -> dict[str, list[str]]:
    """Some incidents of each tenant."""
    connection = await Connection.open(there.api_ports[0])
    made: dict[str, list[str]] = {}
    for tenant in there.tenants:
        for n in range(INCIDENTS):
            answer = await connection.send(_post(tenant, "/api/v1/incidents", {"title": f"Incident {n}"}))
            if answer.status not in {200, 201}:
                raise SystemExit(f"declaring answered {answer.status}: {answer.body[:200]!r}")
            made.setdefault(tenant.name, []).append(f"INC-{n + 1}")
    connection.close()
    return made


def streams(port: int, tenants: Sequence[Tenant], names: dict[str, list[str]], count: int, number: int) -> list[Stream]:
    """Notes and changes of severity on the tenants' incidents."""
    return [
        Stream(one.name, port, [_write(one, names[one.name], n, number) for n in range(count)], CONNECTIONS)
        for one in tenants
    ]


def _write(tenant: Tenant, names: Sequence[str], n: int, number: int) -> bytes:
    path = f"/api/v1/incidents/{names[n % len(names)]}"
    if n % 2:
        return _post(tenant, f"{path}/notes", {"text": f"Looked at it, round {number}, note {n}: nothing new yet"})
    return _post(tenant, f"{path}/severity", {"severity": f"SEV-{(n + number) % 5 + 1}"})


def _post(tenant: Tenant, path: str, body: dict[str, str]) -> bytes:
    headers = {"Authorization": f"Bearer {tenant.admin_token}", "Content-Type": "application/json"}
    return request("POST", path, headers, orjson.dumps(body))
