"""From webhook to subscriber: how long after it was due is an alert on the streams, over SSE and GraphQL.

Open loop: webhooks are due at fixed times, at 100, 500 and 2,000 a second, and latency counts from when a webhook was
due, whether or not it could be sent by then. Each carries one new alert; two tenants have two subscribers each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from bench import payloads
from bench.figures import milliseconds
from bench.load import Load, Sent, Stream
from bench.part import Found, Row, Scale, load_average
from bench.streams import Arrivals, graphql, sse
from bench.world import World, world
from infra.torture.tenants import Tenant

RATES = (100, 500, 2_000)
SECONDS = 10
CONNECTIONS = 16
GRACE_S = 20.0


def measure(scale: Scale) -> Found:
    """All rates, both kinds of stream."""
    found = Found()
    with world() as there:
        _rate(there, 300, 3, 0)  # warms up
        for number, rate in enumerate(RATES, 1):
            sent, arrived = _rate(there, rate, max(3, scale.of(SECONDS)), number)
            for kind, arrivals in arrived.items():
                _report(found, rate, kind, sent, arrivals)
    return found


def _report(found: Found, rate: int, kind: str, sent: Sequence[Sent], arrivals: Sequence[Arrivals]) -> None:
    due = {id_: at for one in sent for id_, at in one.due.items()}
    came = {id_: at for one in arrivals for id_, at in one.items()}
    latencies = milliseconds([came[id_] - at for id_, at in due.items() if id_ in came])
    lost = len(due.keys() - came.keys())
    goal = "p50 50, p99 250" if rate == 500 else ""  # noqa: PLR2004  the rate of the goal
    found.rows.append(
        Row(
            f"webhook to {kind} at {rate:,}/s, p50 / p99 / p99.9 (ms)",
            f"{latencies['p50']} / {latencies['p99']} / {latencies['p999']}",
            f"worst {latencies['worst']}" + (f", {lost} did not come" if lost else ""),
            goal,
        )
    )
    found.details[f"{kind} {rate}"] = latencies | {"load_average": load_average(), "missing": lost}
    if rate == 500 and kind == "SSE":  # noqa: PLR2004
        found.figures |= {"push_p50_ms_500": latencies["p50"], "push_p99_ms_500": latencies["p99"]}


def streams(port: int, tenants: Sequence[Tenant], rate: int, seconds: int, seed: int) -> list[Stream]:
    """Single new alerts, as many a second in all as the rate says."""
    share = rate // len(tenants)
    return [
        Stream(one.name, port, list(payloads.fresh(one, share * seconds, seed=seed)), CONNECTIONS, rate=share)
        for one in tenants
    ]


def _rate(there: World, rate: int, seconds: int, seed: int) -> tuple[list[Sent], dict[str, list[Arrivals]]]:
    return asyncio.run(_followed(there, rate, seconds, 500 + seed))


async def _followed(there: World, rate: int, seconds: int, seed: int) -> tuple[list[Sent], dict[str, list[Arrivals]]]:
    tenants, port = there.tenants[:2], there.api_ports[0]
    arrived: dict[str, list[Arrivals]] = {"SSE": [{} for _ in tenants], "GraphQL": [{} for _ in tenants]}
    followers = [asyncio.create_task(sse(port, one, arrived["SSE"][n])) for n, one in enumerate(tenants)]
    followers += [asyncio.create_task(graphql(port, one, arrived["GraphQL"][n])) for n, one in enumerate(tenants)]
    await asyncio.sleep(1.0)
    load = Load([partial(streams, port, tenants, rate, seconds, seed)], keep_answers=True)
    await asyncio.to_thread(load.go)
    sent = await asyncio.to_thread(load.done)
    wanted = sum(len(one.due) for one in sent)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        if all(sum(map(len, arrivals)) >= wanted for arrivals in arrived.values()):
            break
        await asyncio.sleep(0.05)
    for follower in followers:
        follower.cancel()
    for ended in await asyncio.gather(*followers, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    return sent, arrived
