"""Durable accept: how many events, in groups and in single signed webhooks, are answered 202 a second.

Only the API and Kafka run beside the load: what is measured is this part alone. There are two API processes, one for
each process that sends: one alone would leave a core idle. Each answer comes after Kafka has acknowledged the records
with ``acks=all``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from bench import payloads
from bench.cpu import between
from bench.figures import median, milliseconds, spread
from bench.load import Load, Sent, Stream
from bench.part import Found, Row, Scale, load_average
from bench.world import World, world
from infra.torture.tenants import Tenant

SENDERS = 2
ACCEPTED = 202
GROUP = 100


def measure(scale: Scale) -> Found:
    """Both kinds."""
    found = Found()
    with world(("api", "api")) as there:
        _batches(there, scale, found)
        _singles(there, scale, found)
    return found


def batch_streams(port: int, tenants: Sequence[Tenant], groups: int, seed: int, connections: int = 2) -> list[Stream]:
    """Groups of 100 alerts for each of the tenants."""
    return [
        Stream(one.name, port, [group.request for group in payloads.groups(one, groups, seed=seed)], connections)
        for one in tenants
    ]


def single_streams(port: int, tenants: Sequence[Tenant], count: int, seed: int, connections: int) -> list[Stream]:
    """Signed webhooks for each of the tenants."""
    return [
        Stream(one.name, port, list(payloads.single_webhooks(one, count, seed=seed)), connections) for one in tenants
    ]


def check(sent: Sequence[Sent], wanted: int) -> None:
    """Refuse to report on a run in which something was not accepted."""
    accepted = sum(one.statuses[ACCEPTED] for one in sent)
    if accepted != wanted:
        raise SystemExit(
            f"{wanted - accepted} of {wanted} requests were not accepted: {[one.statuses for one in sent]}"
        )


def elapsed(sent: Sequence[Sent]) -> float:
    """From the first beginning to the last end."""
    return max(one.ended for one in sent) - min(one.began for one in sent)


def _batches(there: World, scale: Scale, found: Found) -> None:
    speeds, costs = [], []
    for number in range(scale.rounds + 1):  # the first warms up
        groups = scale.of(100) if number else 40
        parts = [there.tenants[n::SENDERS] for n in range(SENDERS)]
        ports = there.api_ports
        makes = [partial(batch_streams, ports[n], part, groups, 1000 + number) for n, part in enumerate(parts)]
        sent, cpu = run(there, makes)
        requests = groups * len(there.tenants)
        check(sent, requests)
        if number:
            speeds.append(requests * GROUP / elapsed(sent))
            costs.append(between({}, cpu, requests * GROUP))
    found.figures["accept_batch_eps"] = median(speeds)
    found.rows.append(Row("accepted, groups of 100 (events/s)", f"{median(speeds):,}", spread(speeds), "40,000"))
    cost = {name: median([one[name] for one in costs], 1) for name in costs[0]}
    found.rows.append(Row("CPU of it (µs/event)", ", ".join(f"{name} {value}" for name, value in cost.items())))
    found.details["accept_batch"] = {"cpu_us_per_event": cost, "load_average": load_average()}


def _singles(there: World, scale: Scale, found: Found) -> None:
    speeds, latencies, costs = [], [], []
    for number in range(scale.rounds + 1):
        count = scale.of(2_000) if number else 500
        parts = [there.tenants[n::SENDERS] for n in range(SENDERS)]
        ports = there.api_ports
        makes = [partial(single_streams, ports[n], part, count, 2000 + number, 4) for n, part in enumerate(parts)]
        sent, cpu = run(there, makes)
        requests = count * len(there.tenants)
        check(sent, requests)
        if number:
            speeds.append(requests / elapsed(sent))
            latencies.append(milliseconds([seconds for one in sent for seconds in one.latencies]))
            costs.append(between({}, cpu, requests))
    p99 = [one["p99"] for one in latencies]
    found.figures["accept_single_rps"] = median(speeds)
    found.figures["accept_single_p99_ms"] = median(p99, 1)
    found.rows.append(
        Row("accepted, single signed webhooks (requests/s)", f"{median(speeds):,}", spread(speeds), "5,000")
    )
    found.rows.append(
        Row(
            "their p50 / p99 (ms), 32 connections, closed loop",
            f"{median([one['p50'] for one in latencies], 1)} / {median(p99, 1)}",
            spread(p99, 1),
            "p99 50",
        )
    )
    cost = {name: median([one[name] for one in costs], 1) for name in costs[0]}
    found.rows.append(Row("CPU of it (µs/request)", ", ".join(f"{name} {value}" for name, value in cost.items())))
    found.details["accept_single"] = {"cpu_us_per_request": cost, "load_average": load_average()}


def run(there: World, makes: Sequence[partial[list[Stream]]]) -> tuple[list[Sent], dict[str, float]]:
    """Let the load run; what it did, and CPU seconds by process meanwhile, the load's own among them."""
    load = Load(makes)
    load.go()
    before = there.cpu()
    sent = load.done()
    after = there.cpu()
    used = {name: after[name] - before[name] for name in after if name != "objects"}
    used["load"] = sum(one.cpu_s for one in sent)
    time.sleep(0.5)  # what was queued by then belongs to no round
    return sent, used
