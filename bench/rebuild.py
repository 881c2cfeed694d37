"""Speed of a rebuild of all read models from Kafka, and of the same COPY path fed from memory.

    python -m bench.rebuild [--events 400000] [--tenants 40] [--jobs 2]

The live generation is filled first; then a second rebuild is measured, with its comparison and swap. The last line
printed is one JSON object. Uses the servers that the environment names, else a local stack of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import orjson

from bench.record import write
from bench.servers import servers
from projections import filling, generations, rebuild
from projections.connections import connect
from projections.filling import Task
from projections.rebuild import Rebuild, Report
from projections.registry import READ_MODELS, rebuildable
from projections.sources import KafkaSource
from streams.runtime.log_reader import LogReader
from streams.runtime.settings import DatabaseSettings, KafkaSettings

_SERVING = """
INSERT INTO ops.projection_checkpoints SELECT name, %s, 'incident-events', %s, %s, 0 FROM unnest(%s::text[]) AS name
ON CONFLICT (projection, generation, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""
_ready: Any = None


class Timed:
    """Notes when each phase began."""

    def __init__(self) -> None:
        self.began: list[tuple[str, float]] = []

    def phase(self, what: str, total: int = 0) -> None:
        """A phase begins."""
        del total
        self.began.append((what, time.perf_counter()))

    def at(self, done: int) -> None:
        """Of no interest."""

    def seconds(self) -> dict[str, float]:
        """How long each took."""
        ends = [began for _, began in self.began[1:]]
        return {what: round(end - began, 2) for (what, began), end in zip(self.began, ends, strict=False)}


def rebuilt(source: KafkaSource, database: DatabaseSettings, jobs: int, *, force: bool) -> tuple[Report, Timed]:
    """One run."""
    with rebuild.alone(database) as owner:
        timed = Timed()
        run = Rebuild(owner, source, database, timed, jobs=jobs)
        report = run.run(rebuild.plan(owner, source), force=force, keep=0)
        timed.phase("done")
        return report, timed


def from_memory(task: Task) -> tuple[int, float, float]:
    """Decode the whole partition first, wait for the others, then write it; the count, and when it began and ended."""
    with task.source.open() as reading:
        batches = list(reading.read({task.partition: 0}, {task.partition: task.until}))
    projections = [rebuildable(*one) for one in task.generations]
    with connect(task.database, "projector", name="bench", autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        for projection in projections:
            projection.prepare(connection)
        _ready.wait(120)
        began = time.monotonic()
        for records in batches:
            with connection.transaction():
                for projection in projections:
                    projection.fill(connection, records)
        return sum(map(len, batches)), began, time.monotonic()


def _worker(ready: Any) -> None:
    global _ready  # noqa: PLW0603  how a pool's processes are given what cannot be pickled
    _ready = ready
    filling.end_with_parent()


def copy_limit(source: KafkaSource, database: DatabaseSettings, ends: dict[int, int]) -> float:
    """Events a second of the same writing from memory, one process a partition."""
    names = tuple((name, 99) for name in READ_MODELS)
    with connect(database, "owner", name="bench", autocommit=True) as owner:
        serving = {one.projection: one.number for one in generations.listed(owner) if one.state == "active"}
        for name, number in names:
            generations.create(owner, rebuildable(name, serving[name]), rebuildable(name, number))
    context = multiprocessing.get_context("spawn")
    tasks = [Task(source, database, names, number, end) for number, end in ends.items()]
    with ProcessPoolExecutor(
        len(tasks), mp_context=context, initializer=_worker, initargs=(context.Barrier(len(tasks)),)
    ) as pool:
        found: Sequence[tuple[int, float, float]] = list(pool.map(from_memory, tasks))
    return sum(count for count, _, _ in found) / (max(end for *_, end in found) - min(began for _, began, _ in found))


def measure(arguments: argparse.Namespace, kafka: KafkaSettings, database: DatabaseSettings) -> dict[str, object]:
    """One run; the figures."""
    source = KafkaSource(kafka)
    with LogReader(kafka, "incident-events") as reader:
        write(kafka, arguments.events, arguments.tenants, len(reader.spans()))
        ends = {number: span.end for number, span in reader.spans().items()}
    with connect(database, "owner", name="bench", autocommit=True) as owner:
        for number, end in ends.items():
            owner.execute(_SERVING, (1, number, end, list(READ_MODELS)))
    rebuilt(source, database, arguments.jobs, force=True)
    report, timed = rebuilt(source, database, arguments.jobs, force=False)
    if not (report.equal and report.swapped):
        raise SystemExit(f"not equal: {report}")
    limit = copy_limit(source, database, ends)
    speed = report.events / report.seconds
    return {
        "events": report.events,
        "rows": {one.projection: one.rows for one in report.compared},
        "phases_s": timed.seconds(),
        "copy_eps": round(limit),
        "rebuild_eps": round(speed),
        "rebuild_vs_copy": round(speed / limit, 2),
        "load_average": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of a rebuild")
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--tenants", type=int, default=40)
    parser.add_argument("--jobs", type=int, default=2)
    with servers() as (kafka, database):
        print(orjson.dumps(measure(parser.parse_args(), kafka, database)).decode())


if __name__ == "__main__":
    main()
