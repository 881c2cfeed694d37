"""Time to read an incident with 10,000 events as it was at the last of them, as the API does it.

    python -m bench.as_of [--events 10000] [--runs 20]

The incident has changed since, so that its whole history is folded. The last line printed is one JSON object with the
median in milliseconds. Uses the servers that the environment names, else a local stack of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from datetime import timedelta

import orjson

from bench.record import STARTED
from bench.servers import servers
from projections.base import instant
from projections.connections import connect, pool
from projections.decoding import record_of
from projections.queries.as_of import get_incident_as_of
from projections.queries.tenant import tenant_session
from projections.registry import rebuildable
from streams.domain import events
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope, derive_id
from streams.runtime.settings import DatabaseSettings

TENANT, INCIDENT = "bench", "incident"


def seed(database: DatabaseSettings, count: int) -> None:
    """One incident: half of its events are alerts, the rest repetitions, notes and changes of severity."""
    kinds = (
        lambda n: events.AlertsAttached((_alert(n),)),
        lambda n: events.AlertsRepeated((events.AlertRef("/am", f"r{n}", f"k{n}", STARTED, STARTED),)),
        lambda n: events.AlertsAttached((_alert(n),)),
        lambda n: events.NoteAdded(f"note {n}", "user:ada"),
        lambda n: events.AlertsAttached((_alert(n),)),
        lambda n: events.SeverityChanged(f"SEV-{n % 5 + 1}", "SEV-3", "user:ada"),
    )
    records = []
    for n in range(1, count + 2):
        data = events.Declared(1, "bench", "SEV-3", "open") if n == 1 else kinds[n % len(kinds)](n)
        envelope = Envelope(
            derive_id(INCIDENT, str(n)), "/tenants/bench", TYPE_OF[type(data)], TENANT, INCIDENT, sequence=n,
            tenantsequence=n, recordedtime=STARTED + n,
        )  # fmt: skip
        records.append(record_of("incident-events", 0, n, envelope, data))
    with connect(database, "projector", name="bench") as connection:
        for name in ("timeline_entries", "incidents"):
            projection = rebuildable(name, 1)
            projection.prepare(connection)
            connection.commit()
            with connection.transaction():
                projection.apply(connection, records)
    with connect(database, "owner", name="bench", autocommit=True) as owner:
        owner.execute("ANALYZE")


def _alert(n: int) -> events.Alert:
    return events.Alert(
        "/am", f"a{n}", f"k{n}", "High latency", STARTED, STARTED, service="checkout", connector="alertmanager",
        correlation_rule="service", correlation_version=1, correlation_key="checkout", labels={"pod": f"p{n}"},
    )  # fmt: skip


async def measure(database: DatabaseSettings, count: int, runs: int) -> list[float]:
    """Milliseconds of each run."""
    at = instant(STARTED + count) + timedelta(microseconds=1)
    found = []
    async with pool(database, "api", name="bench", max_size=1) as connections:
        for _ in range(runs):
            began = time.perf_counter()
            async with tenant_session(connections, TENANT) as connection:
                row = await get_incident_as_of(connection, INCIDENT, at)
            found.append((time.perf_counter() - began) * 1000)
            if row is None or row.sequence != count:
                raise SystemExit(f"not as it was: {row}")
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time of an as-of read")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=20)
    arguments = parser.parse_args()
    with servers() as (_, database):
        seed(database, arguments.events)
        found = asyncio.run(measure(database, arguments.events, arguments.runs))
    figures = {
        "events": arguments.events,
        "as_of_10k_ms": round(statistics.median(found), 1),
        "best_ms": round(min(found), 1),
        "worst_ms": round(max(found), 1),
        "load_average": round(os.getloadavg()[0], 2),
    }
    print(orjson.dumps(figures).decode())


if __name__ == "__main__":
    main()
