"""Many subscribers on one API process: what an idle one costs, and how active ones are served.

Idle: 1,000 and 10,000 SSE streams of tenants in which nothing happens. Active: 1,000 streams, half SSE and half
WebSocket, of one tenant with 50 events a second, so that the process delivers 50,000 a second if it can. All active
subscribers are one process here, which parses what it gets: on two cores it may be what is too slow.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import orjson

from bench import cpu, payloads
from bench.figures import milliseconds
from bench.http import Connection, request
from bench.part import Found, Row, Scale, load_average
from bench.streams import Arrivals, graphql, sse
from bench.world import World, world
from infra.torture.tenants import Tenant

IDLE = (1_000, 10_000)
ACTIVE, RATE, SECONDS = 1_000, 50, 10
AT_ONCE = 200
_FILES = 20_000


def measure(scale: Scale) -> Found:
    """Idle ones first, on a process that has served nobody else."""
    found = Found()
    raise_limit()
    with world(("worker", "projector", "api"), INCIDENTS_API_SUBSCRIBER_QUEUE="1024") as there:
        before = _api_mb(there)
        for count in [scale.of(one) for one in IDLE]:
            seconds, resident = asyncio.run(_idle(there, count))
            found.rows.append(
                Row(
                    f"{count:,} idle SSE subscribers: memory of the API (MB)",
                    f"{resident}",
                    f"{(resident - before) * 1024 / count:.1f} kB each, opened in {seconds:.1f} s",
                    "500" if count == IDLE[-1] else "",
                )
            )
            if count == IDLE[-1]:
                found.figures["subscribers_10k_mb"] = resident
    with world(("worker", "projector", "api"), INCIDENTS_API_SUBSCRIBER_QUEUE="1024") as there:
        _active(there, found, scale.of(ACTIVE))
    return found


def raise_limit() -> None:
    """As many open files as this process may have: a connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _api_mb(there: World) -> int:
    return cpu.resident_mb({"api": there.pids["api"]})["api"]


async def _idle(there: World, count: int) -> tuple[float, int]:
    """Open the streams and let them stand; seconds to open them, memory of the API."""
    began = time.monotonic()
    quiet = there.tenants[-1]
    writers: list[asyncio.StreamWriter] = []
    for start in range(0, count, AT_ONCE):
        part = range(start, min(start + AT_ONCE, count))
        writers += await asyncio.gather(*(_open(there.api_ports[0], quiet) for _ in part))
    seconds = time.monotonic() - began
    await asyncio.sleep(3)
    resident = _api_mb(there)
    for writer in writers:
        writer.close()
    await asyncio.sleep(2)
    return seconds, resident


async def _open(port: int, tenant: Tenant) -> asyncio.StreamWriter:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(request("GET", "/api/v1/events/stream", {"Authorization": f"Bearer {tenant.viewer_token}"}))
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        raise SystemExit(f"a stream answers {head[:60]!r}")
    return writer


def _active(there: World, found: Found, count: int) -> None:
    context = multiprocessing.get_context("spawn")
    tenant, port = there.tenants[0], there.api_ports[0]
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        following = pool.submit(follow, port, tenant, count, SECONDS + 25)
        time.sleep(15)
        before = there.cpu()
        due = asyncio.run(_send(port, tenant))
        arrived, ended = following.result()
        used = there.cpu()["api"] - before["api"]
    wanted = len(due) * count
    latencies = milliseconds([at - due[id_] for one in arrived for id_, at in one.items() if id_ in due])
    got = sum(len(one.keys() & due.keys()) for one in arrived)
    found.rows += [
        Row(
            f"{count:,} active subscribers, {RATE} alerts/s each: delivered",
            f"{got / wanted:.1%}",
            f"{got:,} of {wanted:,} before the watch ended; {ended} streams failed",
            "all",
        ),
        Row("their latency, p50 / p99 (ms)", f"{latencies['p50']} / {latencies['p99']}", f"worst {latencies['worst']}"),
    ]
    found.details["active"] = latencies | {
        "api_cpu_us_per_delivery": round(used / max(1, got) * 1e6, 1),
        "load_average": load_average(),
    }


def follow(port: int, tenant: Tenant, count: int, seconds: float) -> tuple[list[Arrivals], int]:
    """In a process of its own: what each subscriber got, and how many streams ended before their time."""
    raise_limit()
    return asyncio.run(_follow(port, tenant, count, seconds))


async def _follow(port: int, tenant: Tenant, count: int, seconds: float) -> tuple[list[Arrivals], int]:
    arrived: list[Arrivals] = [{} for _ in range(count)]
    tasks = []
    for n, one in enumerate(arrived):
        tasks.append(asyncio.create_task((sse if n % 2 else graphql)(port, tenant, one)))
        if n % 50 == 0:
            await asyncio.sleep(0.1)
    done, _ = await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return arrived, len(done)


async def _send(port: int, tenant: Tenant) -> dict[str, float]:
    """One alert every 20 ms; when each was due."""
    connection = await Connection.open(port)
    requests: Sequence[bytes] = list(payloads.fresh(tenant, RATE * SECONDS, seed=77))
    began, due = time.monotonic(), {}
    for n, one in enumerate(requests):
        at = began + n / RATE
        await asyncio.sleep(max(0.0, at - time.monotonic()))
        answer = await connection.send(one)
        due.update(dict.fromkeys(orjson.loads(answer.body)["ids"], at))
    connection.close()
    return due
