"""Kafka gives up what is archived, old and passed, nothing else; and whoever reads the log does not notice."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from projections.sources import KafkaSource
from streams.agents.read_ahead import ReadAhead
from streams.agents.recorded import KafkaLog, SpanOf, intake
from streams.archive.archiver import Archiver
from streams.archive.deciding import Deciding
from streams.archive.history import Histories
from streams.archive.reading import Archive
from streams.archive.recorded import ArchivedLog
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.archive.sources import NotThere, Sources
from streams.archive.trimming import due, kept_ms
from streams.runtime.partition_reader import PartitionReader
from streams.runtime.settings import KafkaSettings, ObjectStorageSettings
from streams.runtime.topics import WrongTopics, provision
from tests.archive.conftest import MakeArchiver, contents, decide
from tests.harness.record import send, signals

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
INTAKE, EVENTS, INTENTS, _ = TOPICS
MONTH_MS = 31 * 86_400_000


def begins(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """Where each partition of a topic begins."""
    with PartitionReader(kafka) as log:
        name = kafka.topic(topic)
        return {number: log.bounds(name, number)[0] for number in log.partitions(name)}


def ends(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """Where each partition of a topic ends."""
    with PartitionReader(kafka) as log:
        name = kafka.topic(topic)
        return {number: log.bounds(name, number)[1] for number in log.partitions(name)}


def in_a_month(archiver: Archiver, passed: Mapping[int, int]) -> Archiver:
    """The archiver as it will be when today's records are old; projections have come as far as ``passed`` says."""
    archiver.clock = lambda: time.time_ns() // 1_000_000 + MONTH_MS
    archiver.passed = lambda _: passed
    return archiver


def test_only_what_is_archived_old_and_passed_is_deleted(
    kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive, tmp_path: Path
) -> None:
    decide(kafka, "a", 300, tmp_path / "worker.log")
    nobody: dict[int, int] = {}
    assert make_archiver().round(final=True).trimmed == 0, "all of it is young"
    settings = ArchiveSettings(events_kept_s=60)
    in_a_month(make_archiver(settings=settings), nobody).round(final=True)
    assert set(begins(kafka, EVENTS).values()) == {0}, "no projection has passed them"
    decided = ends(kafka, INTAKE)
    assert begins(kafka, INTAKE) == decided, "archived and decided"
    before = contents(kafka, EVENTS)
    in_a_month(make_archiver(settings=settings), ends(kafka, EVENTS)).round(final=True)
    assert contents(kafka, EVENTS) == {}
    send(kafka, signals(50, "undecided"))
    make_archiver().round()
    in_a_month(make_archiver(), nobody).round(final=True)
    assert begins(kafka, INTAKE) == decided, "archived, and not decided yet"
    records = {n: list(archive.current(archive.manifest(EVENTS, n))) for n in before}
    assert {n: [(r.key, r.value, r.headers, r.timestamp) for r in found] for n, found in records.items()} == before


def test_what_is_not_archived_is_never_due(
    kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive, tmp_path: Path
) -> None:
    decide(kafka, "a", 100, tmp_path / "worker.log")
    make_archiver().round(final=True)
    archived = {n: archive.manifest(INTAKE, n).position for n in range(4)}
    decide(kafka, "b", 100, tmp_path / "worker.log")
    future = time.time_ns() // 1_000_000 + MONTH_MS
    with PartitionReader(kafka) as log:
        found = {n: due(kafka, log, archive.manifest(INTAKE, n), future, lambda _: {}) for n in range(4)}
    assert found == archived
    assert ends(kafka, INTAKE) != archived


def test_readers_go_on_from_the_archive(
    kafka: KafkaSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    object_storage: ObjectStorageSettings,
    tmp_path: Path,
) -> None:
    decide(kafka, "a", 200, tmp_path / "worker.log")
    passed = ends(kafka, EVENTS)
    decide(kafka, "b", 200, tmp_path / "worker.log")
    histories = Histories(object_storage, archive.prefix)
    whole = _everything(KafkaSource(kafka))
    assert _everything(KafkaSource(kafka, reader=histories)) == whole
    with KafkaLog(kafka) as log:
        messages = list(intake(log, SpanOf("tenant-1")))
    in_a_month(make_archiver(settings=ArchiveSettings(events_kept_s=60)), passed).round(final=True)
    assert begins(kafka, EVENTS) == passed
    assert _everything(KafkaSource(kafka, reader=histories)) == whole
    assert list(intake(ArchivedLog(archive), SpanOf("tenant-1"))) == messages
    with ReadAhead(partial(ArchivedLog, archive), SpanOf("tenant-1")) as ahead:
        assert list(ahead) == messages
    again = Deciding(kafka, archive).run()
    assert not again.differences
    assert not again.not_compared
    assert again.events == len(whole)
    with PartitionReader(kafka) as log, pytest.raises(NotThere, match="no archive"):
        list(Sources(kafka, log).records(EVENTS, max(passed, key=lambda number: passed[number])))


def _everything(source: KafkaSource) -> list[tuple[int, int, str]]:
    """Partition, offset and id of every event that a rebuild would read."""
    with source.open() as reading:
        spans = reading.spans()
        starts, until = dict.fromkeys(spans, 0), {n: span.end for n, span in spans.items()}
        records = [record for batch in reading.read(starts, until) for record in batch]
    assert {n: span.begin for n, span in spans.items()} == starts
    return sorted((record.partition, record.offset, record.envelope.id) for record in records)


def test_topics_with_a_retention_of_their_own_are_taken_over(kafka: KafkaSettings) -> None:
    name = kafka.topic(INTAKE)
    entry = ConfigEntry("retention.ms", "2592000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient(kafka.librdkafka())  # kept while it works: without it the answer is lost
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    with pytest.raises(WrongTopics, match=r"retention\.ms=2592000000"):
        provision(kafka, create=False)
    provision(kafka)
    provision(kafka, create=False)
    assert kept_ms(INTAKE, ArchiveSettings()) == 2_592_000_000
    assert kept_ms(EVENTS, ArchiveSettings()) == 0
