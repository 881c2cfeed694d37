"""Many subscribers on one API process: what an idle one costs, and how active ones are served.

Idle: 1,000 and 10,000 SSE streams of tenants in which nothing happens. Active: 1,000 streams, half SSE and half
WebSocket, of one tenant with 50 events a second, so that the process delivers 50,000 a second if it can; and half as
many of each kind alone. All of them are one process here (``crowd``), whose CPU is told beside that of the API.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import orjson

from bench import cpu, payloads
from bench.crowd import Kind, raise_limit, watching
from bench.figures import milliseconds
from bench.http import Connection, request
from bench.part import Found, Row, Scale, load_average
from bench.world import World, world
from infra.torture.tenants import Tenant

IDLE = (1_000, 10_000)
ACTIVE, RATE, SECONDS = 1_000, 50, 10
GRACE_S = 5
CONNECTIONS = 8
AT_ONCE = 200


def measure(scale: Scale) -> Found:
    """Idle ones first, on a process that has served nobody else."""
    found = Found()
    raise_limit()
    with world(("worker", "projector", "api")) as there:
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
    with world(("worker", "projector", "api")) as there:
        for seed, (name, kinds) in enumerate(active(scale.of(ACTIVE)).items()):
            _active(there, found, kinds, name, seed)
    return found


def active(count: int) -> dict[str, list[Kind]]:
    """Half as many of each kind alone, for what each costs, and both together."""
    halves: dict[str, list[Kind]] = {"SSE": ["sse"] * (count // 2), "WebSocket": ["websocket"] * (count // 2)}
    both = [one for pair in zip(*halves.values(), strict=True) for one in pair]
    return halves | {"half SSE, half WebSocket": both}


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


def _active(there: World, found: Found, kinds: Sequence[Kind], name: str, seed: int) -> None:
    """Alerts of one tenant to subscribers of these kinds, until some seconds after the last was due."""
    tenant, port, count = there.tenants[0], there.api_ports[0], len(kinds)
    with watching(port, tenant, kinds) as over:
        before = there.cpu()
        due = asyncio.run(_send(port, tenant, seed))
        used = there.cpu()["api"] - before["api"]
        watched = over()
    wanted = RATE * SECONDS * count
    latencies = milliseconds([at - due[id_] for one in watched.arrivals for id_, at in one.items() if id_ in due])
    got = sum(len(one.keys() & due.keys()) for one in watched.arrivals)
    found.rows += [
        Row(
            f"{count:,} active subscribers ({name}), {RATE} alerts/s each: delivered",
            f"{got / wanted:.1%}",
            f"{got:,} of {wanted:,} in {watched.messages:,} messages, until {GRACE_S} s after the last was due; "
            f"{watched.ended} streams were cut off",
            "all" if count >= ACTIVE else "",
        ),
        Row("their latency, p50 / p99 (ms)", f"{latencies['p50']} / {latencies['p99']}", f"worst {latencies['worst']}"),
        Row(
            "CPU of the API for a delivery (µs)",
            f"{used / max(1, got) * 1e6:.1f}",
            f"{watched.cpu_s / max(1, got) * 1e6:.1f} of the subscribers' process",
        ),
    ]
    found.details[name] = latencies | {
        "api_cpu_us_per_delivery": round(used / max(1, got) * 1e6, 1),
        "load_average": load_average(),
    }


async def _send(port: int, tenant: Tenant, seed: int) -> dict[str, float]:
    """Alerts at fixed times until the watch is over; when each of those was due that were accepted by then."""
    requests = list(enumerate(payloads.fresh(tenant, RATE * SECONDS, seed=seed)))
    connections = [await Connection.open(port) for _ in range(CONNECTIONS)]
    began, due = time.monotonic(), {}

    async def send(connection: Connection, its: Sequence[tuple[int, bytes]]) -> None:
        for n, one in its:
            at = began + n / RATE
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            answer = await connection.send(one)
            due.update(dict.fromkeys(orjson.loads(answer.body)["ids"], at))

    sending = [asyncio.create_task(send(one, requests[n::CONNECTIONS])) for n, one in enumerate(connections)]
    await asyncio.sleep(SECONDS + GRACE_S)
    for task, connection in zip(sending, connections, strict=True):
        task.cancel()
        connection.close()
    for ended in await asyncio.gather(*sending, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    return due
