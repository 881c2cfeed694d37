"""How fast recorded signals are decided again under another rule set: from archive files to the report's groups.

Prints one JSON line: ``what_if_sps`` (signals per second of wall time, the start of the process that reads included),
the CPU time that deciding one takes, which does not depend on what else the machine does, and the raw limit of the same
run (the same records decoded in one process and nothing else).

    python -m bench.what_if [--signals 200000]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from streams.agents import conditions
from streams.agents.read_ahead import messages
from streams.agents.recorded import INTAKE, SpanOf, intake
from streams.agents.what_if import simulate
from streams.archive import files
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
WHEN = 'severity <= "SEV-3"'
RULES = RuleSet("bench", 2, (Rule("team", 2, ("service", "labels.team"), 10 * MINUTE_MS, when=WHEN),))
PER_FILE = 20_000


class Files:
    """A log of one partition: archive files in a folder, opened by whoever reads it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def partitions(self, topic: str) -> list[int]:
        """The only one."""
        return [0] if topic == INTAKE else []

    def start_at(self, topic: str, partition: int, since: int) -> int:
        """The beginning: a recording is read as a whole."""
        del topic, partition, since
        return 0

    def end(self, topic: str, partition: int) -> int:
        """At least so many records as there are, by the number of files."""
        del topic, partition
        return PER_FILE * len(list(self._folder.iterdir()))

    def records(self, topic: str, partition: int, start: int = 0) -> Iterator[StoredRecord]:
        """All of them, file by file."""
        for path in sorted(self._folder.iterdir()):
            yield from (one for one in files.decode(path.read_bytes(), topic, partition) if one.offset >= start)


def write(folder: Path, signals: int) -> None:
    """Write an intake as connectors and the archiver do."""
    found = recorded(signals)
    while some := list(islice(found, PER_FILE)):
        (folder / f"{some[0].offset:012d}").write_bytes(files.encode(INTAKE, 0, some))


def recorded(signals: int) -> Iterator[StoredRecord]:
    """The records: a hundred services of seven teams, an alert a signal."""
    for number in range(signals):
        envelope = Envelope(f"m-{number}", "/bench", SIGNAL, TENANT)
        data = Signal(
            "High latency", fingerprint=f"fp-{number}", service=f"s-{number % 100}", error_type="slow",
            host=f"h-{number % 20}", event_time=T0 + number * 10, labels={"team": f"t-{number % 7}"},
        )  # fmt: skip
        value, headers = cloudevents.encode(envelope, data)
        yield StoredRecord(INTAKE, 0, number, T0 + number * 10, TENANT.encode(), value, tuple(headers))


def measured(work: Callable[[], int]) -> tuple[float, float]:
    """How many a second the work does, by wall and by CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def figures(signals: int) -> dict[str, float | int | None]:
    """Decide them again and return the figures of the JSON line."""
    conditions.check(WHEN)  # as reading the file of the rules does
    span = SpanOf(TENANT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, signals)
        collector.stop()

        def decode() -> int:
            return sum(1 for _ in intake(Files(folder), span))

        def decide() -> int:
            with messages(partial(Files, folder), Files(folder), span) as found:
                return simulate(TENANT, RULES, found, ()).signals

        raw_wall, raw_cpu = measured(decode)
        wall, cpu = measured(decide)
    return {
        "what_if_sps": round(wall),
        "what_if_cpu_us": round(1e6 / cpu, 1),
        "what_if_decode_sps_cpu": round(raw_cpu),
        "what_if_vs_decode": round(wall / raw_wall, 3),
    }


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--signals", type=int, default=200_000)
    sys.stdout.write(json.dumps(figures(arguments.parse_args().signals)) + "\n")


if __name__ == "__main__":
    main()
