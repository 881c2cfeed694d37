"""A log that Kafka held only the end of is restored: offsets are others, the map to them is right, cursors go on."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from projections.sources import KafkaSource
from streams.archive.archiver import Archiver
from streams.archive.history import Histories
from streams.archive.operations import Operations
from streams.archive.reading import Archive
from streams.archive.restoring import Restore
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.codec import cloudevents
from streams.domain.envelope import rfc3339
from streams.runtime.partition_reader import PartitionReader
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import MakeArchiver, contents, decide, decide_here
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, read_topic, signals
from tests.harness.workers import ROOT, environment

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
INTAKE, EVENTS, _, _ = TOPICS
TENANT = "tenant-1"
NOW = 1_800_000_000_000
MONTH_MS = 31 * 86_400_000
RULES = "name: wide\nversion: 2\nrules: [{name: service, key: [service], window: 10m}]\n"


def ends(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """Where each partition of a topic ends."""
    with PartitionReader(kafka) as log:
        name = kafka.topic(topic)
        return {number: log.bounds(name, number)[1] for number in log.partitions(name)}


def trim(archiver: Archiver, passed: Mapping[int, int]) -> None:
    """Let Kafka give up the events before these offsets, as if they had grown old and every projection had passed them.

    Of the intake it gives up all that was decided.
    """
    archiver.settings = archiver.settings.model_copy(update={"events_kept_s": 60})
    archiver.clock = lambda: time.time_ns() // 1_000_000 + MONTH_MS
    archiver.passed = lambda _: passed
    archiver.round(final=True)


def history(kafka: KafkaSettings, object_storage: ObjectStorageSettings, prefix: str) -> list[tuple[int, int, str]]:
    """Place and id of every event that a rebuild would read, from the archive and then from Kafka."""
    with KafkaSource(kafka, reader=Histories(object_storage, prefix)).open() as reading:
        until = {number: span.end for number, span in reading.spans().items()}
        found = [record for batch in reading.read(dict.fromkeys(until, 0), until) for record in batch]
    return sorted((record.partition, record.offset, record.envelope.id) for record in found)


def placed(kafka: KafkaSettings, topic: str) -> dict[int, list[tuple[int, bytes | None]]]:
    """Offset and value of each record that Kafka holds, by partition."""
    found: dict[int, list[tuple[int, bytes | None]]] = {}
    for record in read_topic(kafka, topic):
        found.setdefault(record.partition, []).append((record.offset, record.value))
    return found


def behind(kafka: KafkaSettings, cursor: int) -> list[tuple[int, str]]:
    """What a client that has seen a tenant's events up to its cursor is sent: their numbers and ids."""
    found = [cloudevents.decode(record.headers, record.value)[0] for record in read_topic(kafka, EVENTS)]
    return [(one.tenantsequence, one.id) for one in found if one.tenantid == TENANT and one.tenantsequence > cursor]


def what_if(
    kafka: KafkaSettings, storage: ObjectStorageSettings, prefix: str, rules: Path, source: str, since: str = ""
) -> str:
    """The report of `incidents what-if` about what is recorded."""
    rules.write_text(RULES)
    env = environment(
        kafka,
        S3_ENDPOINT=storage.endpoint,
        S3_ACCESS_KEY=storage.access_key,
        S3_SECRET_KEY=storage.secret_key.get_secret_value(),
        S3_BUCKET=storage.bucket,
        INCIDENTS_ARCHIVE_NAME=prefix.split("/")[1],
    )
    asked = ["--rules", str(rules), "--tenant", TENANT, "--from", source, "--format", "json"]
    asked += ["--since", since or "2026-01-01T00:00:00Z"]
    command = [sys.executable, "-m", "cli.main", "what-if", *asked]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_trimmed_log_is_restored_and_its_offsets_are_mapped(
    kafka: KafkaSettings,
    kafka_settings: KafkaSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    operations: Operations,
    empty: DatabaseSettings,
    object_storage: ObjectStorageSettings,
    tmp_path: Path,
) -> None:
    decide_here(kafka, signals(120, "a"))
    passed = ends(kafka, EVENTS)
    decide(kafka, "b", 120, tmp_path / "worker.log")
    before = what_if(kafka, object_storage, archive.prefix, tmp_path / "rules.yaml", "log")
    trim(make_archiver(), passed)
    with PartitionReader(kafka) as log:
        assert {n: log.bounds(kafka.topic(EVENTS), n)[0] for n in passed} == passed, "Kafka has the end only"
    assert what_if(kafka, object_storage, archive.prefix, tmp_path / "rules.yaml", "archive") == before
    cursor = min(number for number, _ in behind(kafka, 0)) + 1
    missed = behind(kafka, cursor)
    whole = history(kafka, object_storage, archive.prefix)

    target = own_topics(kafka_settings)
    Restore(target, empty, archive, operations).run(NOW)
    assert {one[0] for one in history(target, object_storage, archive.prefix)} == {one[0] for one in whole}
    assert [one[2] for one in history(target, object_storage, archive.prefix)] == [one[2] for one in whole]
    for topic in (INTAKE, EVENTS):
        there = placed(target, topic)
        for number, found in there.items():
            mapped = [(one.offset, one.value) for one in archive.current(archive.manifest(topic, number))]
            assert mapped == found, f"{topic}[{number}]"
    assert behind(target, cursor) == missed, "who comes back with a cursor of the lost cluster misses nothing"

    restored_at = rfc3339(time.time_ns() // 1_000_000)
    decide(target, "c", 120, tmp_path / "worker.log")
    check_record(target)
    grown = behind(target, cursor)
    assert grown[: len(missed)] == missed
    assert [number for number, _ in grown] == list(range(cursor + 1, cursor + 1 + len(grown)))
    archiver = make_archiver()
    archiver.kafka, archiver.settings = target, ArchiveSettings(name=archive.prefix.split("/")[1])
    archiver.round(final=True)
    everything = history(target, object_storage, archive.prefix)
    for since in ("", restored_at):
        live = what_if(target, object_storage, archive.prefix, tmp_path / "rules.yaml", "log", since)
        assert what_if(target, object_storage, archive.prefix, tmp_path / "rules.yaml", "archive", since) == live
    trim(archiver, ends(target, EVENTS))
    assert contents(target, EVENTS) == {}
    assert history(target, object_storage, archive.prefix) == everything, "also what was archived after the restore"
