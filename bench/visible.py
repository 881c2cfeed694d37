"""End to end: how many events a second go from a webhook to the row that REST returns, and what CPU each costs.

Everything runs: worker, projector, dispatcher, scheduler, archiver and API, with Kafka, PostgreSQL and the S3 server.
Groups of 100 alerts come in; a round ends when the last alert of every tenant is answered by ``/api/v1/alerts/lookup``.
A tenant's events are decided and projected in their order, so all before it are there too; afterwards, outside of the
time, every single id is looked up, and a missing one ends the bench.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

import orjson

from bench import accept, payloads
from bench.cpu import between, resident_mb
from bench.figures import median, spread
from bench.http import Connection, request
from bench.load import Load, Sent, Stream
from bench.part import Found, Row, Scale, load_average
from bench.payloads import Keys
from bench.world import World, world
from infra.torture.tenants import Tenant

GROUP = accept.GROUP
LOOKUP = 500
STORM_SEED, SPREAD_SEED = 100, 200
PATIENCE_S = 900.0
PROCESSES = ("api", "worker", "projector", "dispatcher", "scheduler", "archiver", "kafka", "postgres", "objects")


def measure(scale: Scale) -> Found:
    """Both distributions of keys."""
    found = Found()
    with world() as there:
        for keys in ("storm", "spread"):
            _rounds(there, scale, found, keys)
        found.details["resident_mb"] = resident_mb(there.pids)
    return found


def streams(
    port: int, tenants: Sequence[Tenant], groups: int, keys: Keys, seed: int, size: int = GROUP
) -> list[Stream]:
    """One connection for each tenant, so that its last request is its last event."""
    made = ((one, payloads.groups(one, groups, size=size, keys=keys, seed=seed)) for one in tenants)
    return [Stream(one.name, port, [group.request for group in its]) for one, its in made]


def _rounds(there: World, scale: Scale, found: Found, keys: Keys) -> None:
    rounds = [one_round(there, scale.of(60) if number else 12, keys, number) for number in range(scale.rounds + 1)][1:]
    visible = [one["visible"] / one["seconds"] for one in rounds]
    taken = [one["events"] / one["seconds"] for one in rounds]
    costs = [between({}, {name: one[name] for name in PROCESSES}, int(one["events"])) for one in rounds]
    cost = {name: median([one[name] for one in costs], 1) for name in PROCESSES}
    whole = [sum(one.values()) for one in costs]
    label = "few keys" if keys == "storm" else "many keys"
    found.rows += [
        Row(f"accepted to visible, {label} (alerts/s)", f"{median(visible):,}", spread(visible), "10,000"),
        Row("with the duplicates (events/s)", f"{median(taken):,}", spread(taken)),
        Row("CPU of all processes (µs/event)", f"{median(whole, 1)}", spread(whole, 1), "below 150"),
        Row("of which", ", ".join(f"{name} {value}" for name, value in cost.items() if value >= 1)),
    ]
    if keys == "storm":
        found.figures |= {
            "visible_eps": median(visible),
            "input_eps": median(taken),
            "cpu_us_per_event": median(whole, 1),
        }
    held = sum(int(one["held"]) for one in rounds)
    duplicates = round(1 - sum(one["visible"] for one in rounds) / sum(one["events"] for one in rounds), 3)
    load = median([one["load"] / one["events"] * 1e6 for one in rounds], 1)
    found.details[f"visible_{keys}"] = {
        "cpu_us_per_event": cost, "load_us_per_event": load, "duplicates": duplicates, "answered_503": held,
        "load_average": load_average(),
    }  # fmt: skip


def one_round(there: World, groups: int, keys: Keys, number: int, size: int = GROUP) -> dict[str, float]:
    """So many groups of each tenant, all the way; CPU seconds by process, and what came out."""
    seed = (STORM_SEED if keys == "storm" else SPREAD_SEED) + number
    halves = [there.tenants[n :: accept.SENDERS] for n in range(accept.SENDERS)]
    makes = [partial(streams, there.api_ports[0], half, groups, keys, seed, size) for half in halves]
    load = Load(makes, keep_answers=True)
    load.go()
    before = there.cpu()
    sent = load.done()
    asyncio.run(_until_visible(there, sent))
    ended = time.monotonic()
    after = there.cpu()
    events = groups * len(there.tenants) * size
    visible = asyncio.run(_all_visible(there, sent))
    held = sum(one.statuses[503] for one in sent)
    accepted = sum(one.statuses[202] for one in sent)
    if accepted * size != events:
        raise SystemExit(f"not everything was accepted: {[one.statuses for one in sent]}")
    return {
        "events": events,
        "visible": visible,
        "seconds": ended - min(one.began for one in sent),
        "accept_seconds": accept.elapsed(sent),
        "held": held,
        "load": sum(one.cpu_s for one in sent),
        **{name: after[name] - before[name] for name in PROCESSES},
    }


async def _until_visible(there: World, sent: Sequence[Sent]) -> None:
    """Until the last id of each tenant has its row."""
    connection = await Connection.open(there.api_ports[0])
    last = {name: orjson.loads(body)["ids"][-1:] for one in sent for name, body in one.last.items()}
    deadline = time.monotonic() + PATIENCE_S
    for tenant in there.tenants:
        while await missing(connection, tenant, last[tenant.name]):
            if time.monotonic() > deadline:
                raise SystemExit(f"not visible after {PATIENCE_S:.0f} s: {tenant.name}")
            await asyncio.sleep(0.01)
    connection.close()


async def _all_visible(there: World, sent: Sequence[Sent]) -> int:
    """Look every id up; how many different ones there are."""
    connection = await Connection.open(there.api_ports[0])
    count = 0
    tenants: Mapping[str, Tenant] = {tenant.name: tenant for tenant in there.tenants}
    for one in sent:
        for name, bodies in one.answers.items():
            ids = list(dict.fromkeys(id_ for body in bodies for id_ in orjson.loads(body)["ids"]))
            count += len(ids)
            for start in range(0, len(ids), LOOKUP):
                if lost := await missing(connection, tenants[name], ids[start : start + LOOKUP]):
                    raise SystemExit(f"{lost} accepted alerts of {name} have no row")
    connection.close()
    return count


async def missing(connection: Connection, tenant: Tenant, ids: Sequence[str]) -> int:
    """How many of a tenant's signals have no row yet."""
    body = orjson.dumps({"items": [{"source": tenant.alertmanager.source, "id": id_} for id_ in ids]})
    headers = {"Authorization": f"Bearer {tenant.viewer_token}", "Content-Type": "application/json"}
    answer = await connection.send(request("POST", "/api/v1/alerts/lookup", headers, body))
    if answer.status != 200:  # noqa: PLR2004  an answer that says nothing about the rows
        raise SystemExit(f"lookup answered {answer.status}: {answer.body[:300]!r}")
    return len(orjson.loads(answer.body)["missing"])
