"""How fast the chains of a record are verified: from archive files in memory to checked events, on all cores.

Prints one JSON line: ``verify_eps`` (events per second, whole chain: file, headers, hashes, digests), the same for one
core, and the raw limit of the same run (SHA-256 of the same bytes), so that machines can be compared.

    PYTHONPATH=. python bench/verify.py [--events 200000]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from streams.archive import files
from streams.codec import avro, cloudevents
from streams.codec.avro import newest_schema
from streams.codec.cloudevents import encode_headers
from streams.domain.batch import Batch, PartitionState
from streams.domain.catalogue import TYPE_OF
from streams.domain.checking import RecordChecker
from streams.domain.envelope import Envelope
from streams.domain.message import Message
from streams.domain.signals import Signal
from streams.runtime import collector
from streams.runtime.partition_reader import StoredRecord

T0 = 1_780_000_000_000
PER_FILE = 20_000


def record(partition: int, events: int) -> Iterator[StoredRecord]:
    """A record as the orchestrator writes it: a hundred incidents of one tenant, an alert an event."""
    state, offset, made = PartitionState(), 0, 0
    while made < events:
        batch = Batch(state, f"{partition}:{offset}:{offset + 99}")
        for number in range(offset, offset + 100):
            envelope = Envelope(f"m-{number}", "/bench", TYPE_OF[Signal], f"tenant-{partition}")
            data = Signal(
                "High latency", fingerprint=f"fp-{number}", service=f"s-{number % 100}", error_type="slow",
                event_time=T0 + number,
            )  # fmt: skip
            batch.add(Message(envelope, data, T0 + number, "incident-intake", partition, number))
        offset += 100
        for one in batch.seal(lambda data: avro.encode(data)[0]).recorded:
            headers = tuple(encode_headers(one.envelope, newest_schema(type(one.event))))
            yield StoredRecord("incident-events", partition, made, T0, b"t", one.value, headers)
            made += 1
        state.journal.clear()


def archived(partition: int, events: int) -> list[bytes]:
    """The same in archive files."""
    records = list(record(partition, events))
    starts = range(0, len(records), PER_FILE)
    return [files.encode("incident-events", partition, records[start : start + PER_FILE]) for start in starts]


def verify(partition: int, contents: list[bytes]) -> int:
    """Check every event of a partition; how many there were."""
    checker = RecordChecker()
    for content in contents:
        for one in files.decode(content, "incident-events", partition):
            envelope, _, _ = cloudevents.decode_headers(one.headers)
            checker.take(envelope, one.value, "")
    assert not checker.finish()
    return checker.events


def raw(contents: list[bytes]) -> float:
    """Seconds to hash the same records' bytes, and nothing else."""
    values = [one.value or b"" for content in contents for one in files.decode(content, "incident-events", 0)]
    began = time.perf_counter()
    for value in values:
        hashlib.sha256(value).digest()
        hashlib.sha256(value).digest()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--events", type=int, default=200_000, help="of each of as many partitions as cores")
    events = arguments.parse_args().events
    cores = min(4, os.cpu_count() or 1)
    with ProcessPoolExecutor(cores, initializer=collector.stop) as pool:
        contents = list(pool.map(archived, range(cores), [events] * cores))
        began = time.perf_counter()
        single = verify(0, contents[0])
        one = single / (time.perf_counter() - began)
        list(pool.map(verify, range(cores), [[]] * cores))  # processes are there
        began = time.perf_counter()
        total = sum(pool.map(verify, range(cores), contents))
        every = total / (time.perf_counter() - began)
    hashing = single / raw(contents[0])
    found = {
        "verify_eps": round(every),
        "verify_eps_one_core": round(one),
        "cores": cores,
        "events": total,
        "sha256_eps_one_core": round(hashing),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
