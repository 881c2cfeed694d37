"""A rebuild that needs a damaged file of the archive names it and stops; with the file mended it goes on."""

from __future__ import annotations

import io
import time

import pytest

from projections import rebuild
from projections.connections import connect
from projections.generations import listed
from projections.rebuild import Rebuild
from projections.registry import READ_MODELS
from projections.sources import KafkaSource
from streams.archive.files import DamagedFile
from streams.archive.history import Histories
from streams.archive.reading import Archive
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.archive.verifying import verify_archive
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import SIGNING, MakeArchiver, contents, database_settings, decide_here
from tests.harness.objects import client_of
from tests.harness.record import signals
from tests.projections.rebuilding import Quiet, projecting, wait_projected

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
EVENTS = TOPICS[1]
MONTH_MS = 31 * 86_400_000


@pytest.fixture
def database(database_url: str) -> DatabaseSettings:
    """Of this module."""
    return database_settings(database_url)


def write(settings: ObjectStorageSettings, key: str, content: bytes) -> None:
    """Put an object where another one is, past the product."""
    client_of(settings).put_object(settings.bucket, key, io.BytesIO(content), len(content))


def test_a_damaged_file_is_named_and_left_out_only_on_request(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    object_storage: ObjectStorageSettings,
) -> None:
    decide_here(kafka, signals(120, "a"))
    by_partition = {number: len(found) for number, found in contents(kafka, EVENTS).items()}
    with connect(database, "owner", name="test", autocommit=True) as owner, projecting(kafka, database):
        wait_projected(owner, sum(by_partition.values()))
    archiver = make_archiver(settings=ArchiveSettings(events_kept_s=60))
    archiver.clock = lambda: time.time_ns() // 1_000_000 + MONTH_MS
    archiver.passed = lambda _: by_partition
    archiver.round(final=True)
    assert contents(kafka, EVENTS) == {}, "only the archive has them"
    manifest = archive.manifest(EVENTS, max(by_partition))
    key = archive.held_in(manifest.files[-1])
    content = archive.storage.get(key)
    write(object_storage, key, content[:-1] + bytes([content[-1] ^ 1]))

    source = KafkaSource(kafka, reader=Histories(object_storage, archive.prefix))
    with rebuild.alone(database) as owner:
        run = Rebuild(owner, source, database, Quiet(), jobs=1)
        with pytest.raises(DamagedFile, match=rf"{EVENTS}\[{max(by_partition)}\] offsets .*{key}"):
            run.run(rebuild.plan(owner, source))
        assert [one.number for one in listed(owner) if one.state == "active"] == [1] * len(READ_MODELS), (
            "nothing was swapped"
        )
        named = [one for one in verify_archive(archive, SIGNING).problems if key in one]
        assert named
        skipping = Archive(archive.storage, archive.prefix, skip_damaged=True)
        left = sum(1 for _ in skipping.current(manifest))
        assert left == by_partition[max(by_partition)] - manifest.files[-1].count
        assert [one for one in skipping.skipped if key in one]
        write(object_storage, key, content)
        report = run.run(rebuild.plan(owner, source))
        assert report.swapped
        assert report.equal
