"""A read model that is new where Kafka no longer holds the beginning: the others go on, a rebuild fills it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from cli.exit_codes import ExitCode
from projections import rebuild
from projections.base import LogBeginsLater, Record
from projections.checkpoints import active
from projections.connections import Connection, connect
from projections.digests import Table, total
from projections.rebuild import Rebuild
from projections.runner import Projector
from projections.sources import KafkaSource
from streams.archive.history import Histories
from streams.archive.reading import Archive
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import MakeArchiver, database_settings
from tests.harness.postgres import created_database
from tests.harness.stack import Connections
from tests.harness.waiting import wait_until
from tests.harness.workers import environment
from tests.projections.rebuilding import Quiet, many, projecting, send, wait_projected

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
NEW, TABLES = "tickets", ("tickets", "ticket_conflicts")


@pytest.fixture
def database(stack: Connections, migrated_template: str) -> Iterator[DatabaseSettings]:
    """A migrated database of the test's own."""
    with created_database(stack["DATABASE_URL"], migrated_template) as url:
        yield database_settings(url)


@pytest.fixture
def owner(database: DatabaseSettings) -> Iterator[Connection]:
    """The owner's connection, in autocommit mode."""
    with connect(database, "owner", name="test", autocommit=True) as connection:
        yield connection


def digest(database: DatabaseSettings, generation: int) -> list[str]:
    """Of each table of the read model."""
    with connect(database, "projector", name="test") as connection:
        return [total(Table(connection, f"read_data.{one}_g{generation}").digest(connection)) for one in TABLES]


def stands(owner: Connection, name: str) -> dict[int, int]:
    """Where the generation that readers see goes on, by partition."""
    rows = owner.execute(
        "SELECT partition, next_offset FROM ops.projection_checkpoints JOIN ops.projection_active"
        " USING (projection, generation) WHERE projection = %s AND topic = 'incident-events'",
        [name],
    )
    return dict(rows.fetchall())


def command(
    kafka: KafkaSettings, database: DatabaseSettings, storage: ObjectStorageSettings, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """What an operator runs."""
    variables = environment(
        kafka,
        DATABASE_URL=database.url.get_secret_value(),
        S3_ENDPOINT=storage.endpoint,
        S3_ACCESS_KEY=storage.access_key,
        S3_SECRET_KEY=storage.secret_key.get_secret_value(),
        S3_BUCKET=storage.bucket,
    )
    line = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(line, env=variables, capture_output=True, text=True, check=False, timeout=120)


def trim(kafka: KafkaSettings, left: int, records: list[Record]) -> None:
    """Let each partition begin ``left`` records before its end."""
    ends = {one.partition: one.offset + 1 for one in records}
    wanted = [TopicPartition(kafka.topic("incident-events"), number, end - left) for number, end in ends.items()]
    admin = AdminClient(kafka.librdkafka())  # kept while it works: without it the answers are lost
    for future in admin.delete_records(wanted).values():
        future.result(timeout=30)


class HearsTwice(Projector):
    """Each report of the client comes once more, when what it reports has been dealt with."""

    def _poll(self, *, busy: bool) -> list[Any]:
        messages = super()._poll(busy=busy)
        return [*messages, *(one for one in messages if one.error() is not None)]


def make_new(owner: Connection) -> None:
    """The read model as the migration that brings it leaves it: empty, and never written."""
    for table in TABLES:
        owner.execute(f"TRUNCATE read_data.{table}_g1".encode())
    owner.execute("DELETE FROM ops.projection_checkpoints WHERE projection = %s", [NEW])


def test_a_new_read_model_gets_its_rows_from_the_archive_while_the_others_go_on(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    owner: Connection,
    make_archiver: MakeArchiver,
    archive: Archive,
    object_storage: ObjectStorageSettings,
) -> None:
    records = [*many("acme", 0, 30).records, *many("other", 1, 20).records]
    with projecting(kafka, database):
        send(kafka, records)
        wait_projected(owner, len(records))
    before = digest(database, 1)
    make_archiver().round(final=True)
    trim(kafka, 3, records)
    make_new(owner)
    assert digest(database, 1) != before, "there was something to lose"

    source = KafkaSource(kafka, reader=Histories(object_storage, archive.prefix))
    with projecting(kafka, database, HearsTwice) as projector:
        wait_until(lambda: projector.checks()["read_models"] != "ok", "the projector says what it left behind")
        assert "run `incidents rebuild tickets`" in projector.checks()["read_models"]
        later = many("later", 0, 10).records
        send(kafka, later)
        wait_projected(owner, len(records) + len(later))
        with rebuild.alone(database) as alone:
            with pytest.raises(LogBeginsLater, match="no archive"):
                rebuild.plan(alone, KafkaSource(kafka), [NEW])
            wanted = rebuild.plan(alone, source, [NEW])
            assert wanted.stranded == (0, 1)
            with pytest.raises(LogBeginsLater, match="rebuild them"):
                Rebuild(alone, source, database, Quiet(), jobs=1).compare(wanted)
        done = command(kafka, database, object_storage, "rebuild", NEW, "--yes", "--json")
        assert done.returncode == ExitCode.OK, done.stderr
        assert "the log begins after its position on partition 0, 1: filled from the archive" in done.stderr
        report = orjson.loads(done.stdout)
        assert (report["swapped"], report["equal"], report["not_compared"]) == (True, False, [NEW])
        assert active(owner)[NEW] == 2
        wait_until(lambda: projector.checks()["read_models"] == "ok", "the projector goes on with it")
        last = many("last", 1, 10).records
        send(kafka, last)
        wait_projected(owner, len(records) + len(later) + len(last))
        wait_until(lambda: stands(owner, NEW) == stands(owner, "timeline_entries"), "it stands where the others do")
    with rebuild.alone(database) as alone:
        run = Rebuild(alone, source, database, Quiet(), jobs=1)
        assert run.compare(rebuild.plan(alone, source)).equal


def test_a_read_model_that_the_projector_needs_stops_it_until_it_is_rebuilt(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    owner: Connection,
    make_archiver: MakeArchiver,
    archive: Archive,
    object_storage: ObjectStorageSettings,
) -> None:
    records = many("acme", 0, 10).records
    with projecting(kafka, database):
        send(kafka, records)
        wait_projected(owner, len(records))
    make_archiver().round(final=True)
    trim(kafka, 3, records)
    owner.execute("TRUNCATE read_data.timeline_entries_g1")
    owner.execute("DELETE FROM ops.projection_checkpoints WHERE projection = 'timeline_entries'")
    with pytest.raises(LogBeginsLater, match="run `incidents rebuild timeline_entries`"):
        Projector(kafka, database, threading.Event()).run()
    source = KafkaSource(kafka, reader=Histories(object_storage, archive.prefix))
    with rebuild.alone(database) as alone:
        run = Rebuild(alone, source, database, Quiet(), jobs=1)
        assert run.run(rebuild.plan(alone, source, ["timeline_entries"])).swapped
    with projecting(kafka, database):
        later = many("later", 0, 5).records
        send(kafka, later)
        wait_projected(owner, len(records) + len(later))
