"""Every process is restarted, one after the other, under load, and no request fails.

The API has a second replica for it, and both stand behind a balancer, as they do where this matters: a replica is taken
out before it is stopped, and put back when it is ready.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import orjson

from infra.torture.balancer import Balancer
from infra.torture.children import KINDS
from infra.torture.evidence import Finding
from infra.torture.load import cloud_event
from infra.torture.stage import Stage
from infra.torture.tenants import Tenant
from infra.torture.waiting import until

CLIENTS, PAUSE_S = 4, 0.1
DRAIN_S = 0.5
REPLICA = "api-1"


@dataclass(slots=True)
class Restarts:
    """Requests by outcome, what failed, and the exit codes of the restarts that were ordered."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    answers: Counter[int] = field(default_factory=Counter)


async def play(stage: Stage) -> Finding:
    """All kinds, all processes of each."""
    world, seen = stage.world, Restarts()
    children = world.children
    children.add("api", REPLICA)
    await _ready(stage, REPLICA)
    balancer = Balancer(*(children.port(name) for name in children.names("api")))
    over = asyncio.Event()
    async with balancer.open():
        clients = [asyncio.create_task(_requests(stage, balancer, seen, over, number)) for number in range(CLIENTS)]
        try:
            for kind in KINDS:
                for name in children.names(kind):
                    await _restart(stage, balancer, name)
                    seen.codes[name] = [end.code for end in children.ends if end.name == name][-1]
        finally:
            over.set()
            await asyncio.gather(*clients)
    await asyncio.to_thread(children.remove, REPLICA)
    return judge(seen)


async def _restart(stage: Stage, balancer: Balancer, name: str) -> None:
    children = stage.world.children
    if name.startswith("api"):
        balancer.out = {children.port(name)}
        await asyncio.sleep(DRAIN_S)
    await asyncio.to_thread(children.stop_in_order, name)
    await _ready(stage, name)
    balancer.out = set()


async def _ready(stage: Stage, name: str) -> None:
    url = f"http://127.0.0.1:{stage.world.children.port(name)}"

    async def is_ready() -> bool:
        status, _ = await stage.reader.health(url)
        return status == httpx.codes.OK

    await until(is_ready)


async def _requests(stage: Stage, balancer: Balancer, seen: Restarts, over: asyncio.Event, number: int) -> None:
    """Signals, reads and commands in turn, each on a connection of its own."""
    tenant = stage.world.tenants[number % len(stage.world.tenants)]
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{balancer.port}", timeout=15, limits=limits) as client:
        count = 0
        while not over.is_set():
            count += 1
            act = (_signal, _read, _declare)[count % 3]
            seen.requests += 1
            try:
                answer = await act(client, tenant, f"rolling-{number}-{count}")
                seen.answers[answer.status_code] += 1
                if not answer.is_success:
                    seen.failed.append(f"{answer.request.url.path}: {answer.status_code} {answer.text[:200]}")
            except httpx.TransportError as error:
                seen.failed.append(repr(error))
            await asyncio.sleep(PAUSE_S)


Act = Callable[[httpx.AsyncClient, Tenant, str], Awaitable[httpx.Response]]


async def _signal(client: httpx.AsyncClient, tenant: Tenant, name: str) -> httpx.Response:
    event = cloud_event("rolling", name, time.time_ns() // 1_000_000, firing=True)
    headers = {"Content-Type": "application/cloudevents+json", "Authorization": f"Bearer {tenant.admin_token}"}
    return await client.post("/api/v1/events", content=orjson.dumps(event), headers=headers)


async def _read(client: httpx.AsyncClient, tenant: Tenant, _: str) -> httpx.Response:
    return await client.get("/api/v1/incidents", headers={"Authorization": f"Bearer {tenant.viewer_token}"})


async def _declare(client: httpx.AsyncClient, tenant: Tenant, name: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {tenant.admin_token}", "Idempotency-Key": name}
    return await client.post("/api/v1/incidents", json={"title": name}, headers=headers)


def judge(seen: Restarts) -> Finding:
    """No answer but 2xx, and every restart was one in order."""
    finding = Finding("every process is restarted under load without a failed request")
    for failure in seen.failed:
        finding.add(failure)
    for name, code in seen.codes.items():
        if code != 0:
            finding.add(f"{name} ended with {code}")
    if not seen.requests or not seen.codes:
        finding.add("nothing was sent, or nothing was restarted")
    finding.counts["requests"] = seen.requests
    finding.counts["restarted"] = len(seen.codes)
    return finding
