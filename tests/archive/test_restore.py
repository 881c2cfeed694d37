"""A record is restored into empty topics and an empty database: the same bytes, decided on from where it stood."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import orjson
import psycopg
import pytest
from confluent_kafka import Producer

from connectors.kit import integrations
from connectors.pagerduty import CONNECTOR
from streams.archive.checkpoints import Verifier
from streams.archive.deciding import Deciding
from streams.archive.manifests import Manifest
from streams.archive.operations import NotEmpty, Operations
from streams.archive.reading import Archive
from streams.archive.restoring import CannotRestore
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.archive.verifying import Verification, verify_archive
from streams.domain.batch import DECIDER
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import (
    NOW,
    SIGNING,
    MakeArchiver,
    box,
    contents,
    database_settings,
    decide,
    decided,
    restore,
    subscribe,
)
from tests.harness.objects import client_of
from tests.harness.record import StoredRecord, check_record, read_topic, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
INTAKE, EVENTS, _, _ = TOPICS


@pytest.fixture
def lost(database_url: str) -> DatabaseSettings:
    """The database that will be lost."""
    return database_settings(database_url)


def same_records(restored: KafkaSettings, original: KafkaSettings) -> None:
    """Every topic holds the same bytes at the same times, whatever the offsets."""
    for topic in TOPICS:
        assert contents(restored, topic) == contents(original, topic), topic


def test_what_was_lost_is_restored_and_goes_on(
    kafka: KafkaSettings,
    lost: DatabaseSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    operations: Operations,
    target: KafkaSettings,
    empty: DatabaseSettings,
    tmp_path: Path,
) -> None:
    subscribe(kafka)
    with integrations.connect(lost) as connection:
        added = integrations.add(
            connection, box(), CONNECTOR, "tenant-1", name="on call", webhook_secret="whsec", api_token="key"
        )
    for tag in ("a", "b"):
        decide(kafka, tag, 400, tmp_path / "worker.log")
        make_archiver().round(final=tag == "a")
    assert operations.take(lost, NOW)
    send(kafka, signals(100, "undecided"))
    make_archiver().round()
    done = restore(archive, operations, target, empty)
    assert done.records[INTAKE] == 903
    assert done.decided_again < 10, "it began at the archived state"
    same_records(target, kafka)
    assert [r.offset for r in read_topic(target, INTAKE)] == [r.offset for r in read_topic(kafka, INTAKE)]
    with integrations.connect(empty) as connection:
        rows = connection.execute("SELECT ciphertext FROM ops.integration_secrets").fetchall()
    secrets = [box().open(row["ciphertext"], "tenant-1", added.integration_id) for row in rows]
    assert "key" in [secret.value for secret in secrets]
    with process(["worker"], environment(target), tmp_path / "restored.log"):
        wait_until(lambda: decided(target, "undecided") == 100, "what was not decided yet is decided", 60)
        send(target, signals(100, "new"))
        wait_until(lambda: decided(target, "new") == 100, "new intake is decided", 60)
    assert set(check_record(target).deliveries.values()) == {1}
    again = Deciding(target).run()
    assert not again.differences
    assert not again.not_compared
    assert again.events == sum(map(len, contents(target, EVENTS).values()))
    assert_archive_goes_on(archive, target, make_archiver)


def assert_archive_goes_on(archive: Archive, target: KafkaSettings, make_archiver: MakeArchiver) -> None:
    """The same archive takes up the restored log, and may be restored from once more."""
    archiver = make_archiver()
    archiver.kafka = target
    archiver.settings = ArchiveSettings(name=archive.prefix.split("/")[1])
    archiver.round(final=True)
    found = verify_archive(archive, SIGNING)
    assert found.whole, (found.problems, found.damage)
    assert found.events == sum(map(len, contents(target, EVENTS).values()))


def test_a_batch_of_which_the_archive_has_a_part_is_completed(
    kafka: KafkaSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    operations: Operations,
    target: KafkaSettings,
    empty: DatabaseSettings,
    object_storage: ObjectStorageSettings,
    tmp_path: Path,
) -> None:
    """The last event of several of a batch is cut off, as by a disaster between two files of one transaction."""
    decide(kafka, "a", 300, tmp_path / "worker.log")
    make_archiver(settings=ArchiveSettings(file_bytes=1024)).round()
    cut = [
        cut_last(object_storage, archive, manifest)
        for topic, partition in archive.partitions()
        if topic == EVENTS and len((manifest := archive.manifest(topic, partition)).files) > 1
    ]
    assert cut, "no partition had two files"
    done = restore(archive, operations, target, empty)
    assert done.completed == sum(cut)
    assert without_times(target) == without_times(kafka)


def cut_last(settings: ObjectStorageSettings, archive: Archive, manifest: Manifest) -> int:
    """Take the last entry off a manifest; how many records it had."""
    key = f"{archive.prefix}manifests/{manifest.topic}/{manifest.partition:05d}/00000000.json"
    page = orjson.loads(archive.storage.document(key)[0])
    last = page["entries"].pop()
    content = orjson.dumps(page)
    client_of(settings).put_object(settings.bucket, key, io.BytesIO(content), len(content))
    return int(last["count"])


def without_times(kafka: KafkaSettings) -> dict[int, list[tuple[object, ...]]]:
    """The events; what was completed has the time of the restore."""
    return {n: [content[:3] for content in found] for n, found in contents(kafka, EVENTS).items()}


def test_a_restore_goes_into_nothing_but_emptiness(
    kafka: KafkaSettings,
    lost: DatabaseSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    operations: Operations,
    target: KafkaSettings,
    empty: DatabaseSettings,
    storage: ObjectStorage,
) -> None:
    nothing = Archive(storage, "archive/nobody/")
    with pytest.raises(CannotRestore, match="no archive"):
        restore(nothing, operations, target, empty)
    send(kafka, signals(10, "a"))
    make_archiver().round()
    with pytest.raises(CannotRestore, match="not empty"):
        restore(archive, operations, kafka, empty)
    with integrations.connect(lost) as connection:
        integrations.add(
            connection, box(), CONNECTOR, "tenant-1", name="on call", webhook_secret="whsec", api_token="key"
        )
    with pytest.raises(NotEmpty, match="has rows"):
        restore(archive, operations, target, lost)


def test_the_log_is_held_against_the_rows_the_state_and_the_archive(
    kafka: KafkaSettings,
    lost: DatabaseSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    target: KafkaSettings,
    tmp_path: Path,
) -> None:
    decide(kafka, "a", 300, tmp_path / "worker.log")
    env = environment(kafka, DATABASE_URL=lost.url.get_secret_value())
    with psycopg.connect(lost.url.get_secret_value(), autocommit=True) as rows:
        expected = sum(map(len, contents(kafka, EVENTS).values()))

        def count() -> int:
            found = rows.execute("SELECT count(*) FROM read_data.timeline_entries_g1").fetchone()
            return int(found[0]) if found else 0

        with process(["projector"], env, tmp_path / "projector.log") as projector:
            wait_until(lambda: count() == expected, "the projector wrote all", 60)
            projector.send_signal(signal.SIGTERM)
            projector.wait()
        make_archiver().round(final=True)
        verification = Verification(kafka, lost, archive, Verifier(SIGNING))
        found = verification.run()
        assert found.whole, (found.problems, found.damage)
        assert found.events == expected
        rows.execute(
            "UPDATE read_data.timeline_entries_g1 SET actor = 'nobody'"
            " WHERE tenant_id = 'tenant-1' AND tenantsequence = 2"
        )
        rows.execute("DELETE FROM read_data.timeline_entries_g1 WHERE tenant_id = 'tenant-2' AND tenantsequence = 3")
        problems = sorted(verification.run().problems)
        assert len(problems) == 2
        assert "tenant-1 tenantsequence 2) was edited: actor" in problems[0] + problems[1]
        assert "tenant-2 tenantsequence 3) is deleted" in problems[0] + problems[1]
    _copy(kafka, target, EVENTS, leave_out=1)
    cut = Verification(target, lost, archive, Verifier(SIGNING)).run()
    assert {damage.kind for damage in cut.damage} == {"truncated"}
    assert any("the archive has more" in problem for problem in cut.problems)


def _copy(source: KafkaSettings, target: KafkaSettings, topic: str, *, leave_out: int = 0) -> None:
    """Copy a topic without the last records of each partition."""
    producer = Producer(target.librdkafka())
    by_partition: dict[int, list[StoredRecord]] = {}
    for record in read_topic(source, topic):
        by_partition.setdefault(record.partition, []).append(record)
    for partition, records in by_partition.items():
        for record in records[: len(records) - leave_out]:
            producer.produce(
                target.topic(topic),
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                partition=partition,
                timestamp=record.timestamp,
            )
    assert producer.flush(30) == 0


def test_what_is_decided_otherwise_is_named_with_its_rule(
    kafka: KafkaSettings, target: KafkaSettings, tmp_path: Path
) -> None:
    """The intake stands beside events that were decided from another one, in which the service was another."""
    decide(kafka, "a", 60, tmp_path / "worker.log")
    assert not Deciding(kafka).run().differences
    _copy(kafka, target, EVENTS)
    send(target, signals(60, "a", services=4))
    differences = Deciding(target).run().differences
    assert {one.tenant for one in differences} == {"tenant-0", "tenant-1", "tenant-2"}
    assert all(one.decider == DECIDER and one.event_id and one.rule for one in differences)
