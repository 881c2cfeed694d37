"""Speed of a rebuild of all read models from Kafka, and of its parts alone (`rebuild_limits`).

    python -m bench.rebuild [--events 400000] [--tenants 40] [--jobs 2]

The live generation is filled first; then a second rebuild is measured, with its comparison and swap. The last line
printed is one JSON object. Uses the servers that the environment names, else a local stack of its own.
"""

from __future__ import annotations

import argparse
import os
import time

import orjson

from bench import rebuild_limits
from bench.record import write
from bench.servers import servers
from projections import rebuild
from projections.connections import connect
from projections.rebuild import Rebuild, Report
from projections.registry import READ_MODELS
from projections.sources import KafkaSource
from streams.runtime.log_reader import LogReader
from streams.runtime.settings import DatabaseSettings, KafkaSettings

_SERVING = """
INSERT INTO ops.projection_checkpoints SELECT name, %s, 'incident-events', %s, %s, 0 FROM unnest(%s::text[]) AS name
ON CONFLICT (projection, generation, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""


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
    with connect(database, "owner", name="bench", autocommit=True) as owner:
        limits = rebuild_limits.measure(owner, source, database, ends)
    speed = report.events / report.seconds
    return {
        "events": report.events,
        "rows": {one.projection: one.rows for one in report.compared},
        "phases_s": timed.seconds(),
        **limits,
        "rebuild_eps": round(speed),
        "rebuild_vs_copy": round(speed / limits["copy_eps"], 2),
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
