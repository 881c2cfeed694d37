"""How fast recorded signals are decided again under another rule set: from records in memory to the report's groups.

Prints one JSON line: ``what_if_sps`` (signals per second of wall time on one core), the same by CPU time, which does
not depend on what else the machine does, and the raw limit of the same run (the same records decoded and nothing else).

    python -m bench.what_if [--signals 50000]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from streams.agents.recorded import INTAKE, SpanOf, message_of
from streams.agents.what_if import simulate
from streams.codec import cloudevents
from streams.domain.catalogue import SIGNAL
from streams.domain.correlation import MINUTE_MS, Rule
from streams.domain.envelope import Envelope
from streams.domain.rules import RuleSet
from streams.domain.signals import Signal
from streams.runtime import collector
from streams.runtime.partition_reader import StoredRecord

T0 = 1_780_000_000_000
TENANT = "acme"
RULES = RuleSet("bench", 2, (Rule("team", 2, ("service", "labels.team"), 10 * MINUTE_MS, when='severity <= "SEV-3"'),))


def recorded(signals: int) -> list[StoredRecord]:
    """An intake as connectors write it: a hundred services of seven teams, an alert a signal."""
    found = []
    for number in range(signals):
        envelope = Envelope(f"m-{number}", "/bench", SIGNAL, TENANT)
        data = Signal(
            "High latency", fingerprint=f"fp-{number}", service=f"s-{number % 100}", error_type="slow",
            host=f"h-{number % 20}", event_time=T0 + number * 10, labels={"team": f"t-{number % 7}"},
        )  # fmt: skip
        value, headers = cloudevents.encode(envelope, data)
        found.append(StoredRecord(INTAKE, 0, number, T0 + number * 10, TENANT.encode(), value, tuple(headers)))
    return found


def measured(work: Callable[[], int]) -> tuple[float, float]:
    """How many a second the work does, by wall and by CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def figures(signals: int) -> dict[str, float | int | None]:
    """Decide them again and return the figures of the JSON line."""
    collector.spare()
    records, span = recorded(signals), SpanOf(TENANT)

    def decode() -> int:
        return sum(message_of(record, span) is not None for record in records)

    def decide() -> int:
        messages = (message for record in records if (message := message_of(record, span)))
        return simulate(TENANT, RULES, messages, ()).signals

    raw_wall, raw_cpu = measured(decode)
    wall, cpu = measured(decide)
    return {
        "what_if_sps": round(wall),
        "what_if_sps_cpu": round(cpu),
        "what_if_cpu_us": round(1e6 / cpu, 1),
        "what_if_decode_sps_cpu": round(raw_cpu),
        "what_if_vs_decode": round(wall / raw_wall, 3),
    }


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--signals", type=int, default=50_000)
    sys.stdout.write(json.dumps(figures(arguments.parse_args().signals)) + "\n")


if __name__ == "__main__":
    main()
