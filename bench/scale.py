"""The same work with 1, 2 and 4 workers: a backlog on the intake is decided, and what that costs."""

from __future__ import annotations

import time

from bench import raw
from bench.cpu import between
from bench.part import Found, Row, Scale, load_average
from bench.world import World, world
from streams.runtime.admission import read_backlog
from streams.runtime.offsets import asking

WORKERS = (1, 2, 4)
GROUPS = 400
PATIENCE_S = 300.0


def measure(scale: Scale) -> Found:
    """Each count of workers on a stack of its own, from the first record on."""
    found = Found()
    speeds: dict[int, float] = {}
    for workers in WORKERS:
        with world(()) as there:
            warm = raw.records(there, 40)
            made = raw.records(there, scale.of(GROUPS), number=2)
            topic = there.kafka.topic("incident-intake")
            raw.produce(there.kafka, topic, warm)
            there.start(["worker"] * workers)
            _until_decided(there)
            before, began = there.cpu(), time.monotonic()
            raw.produce(there.kafka, topic, made)
            _until_decided(there)
            speeds[workers] = len(made) / (time.monotonic() - began)
            cost = between(before, there.cpu(), len(made))
        found.rows.append(
            Row(
                f"{workers} worker{'s' if workers > 1 else ''}: decided (events/s)",
                f"{speeds[workers]:,.0f}",
                f"worker {cost['worker']}, Kafka {cost['kafka']} µs/event",
            )
        )
        found.details[f"{workers} workers"] = {"cpu_us_per_event": cost, "load_average": load_average()}
    found.details["scale"] = {f"{n}": round(speed / speeds[1], 2) for n, speed in speeds.items()}
    return found


def _until_decided(there: World) -> None:
    """Until the workers have shown the end of every partition to their group."""
    deadline = time.monotonic() + PATIENCE_S
    asker = asking(there.kafka, there.kafka.topic("incidents-orchestrator"))
    try:
        while time.monotonic() < deadline:
            count, seen = read_backlog(asker, there.kafka)
            if len(seen) == count and all(end == decided for end, decided in seen.values()):
                return
            time.sleep(0.05)
    finally:
        asker.close()
    raise SystemExit(f"not decided after {PATIENCE_S:.0f} s")
