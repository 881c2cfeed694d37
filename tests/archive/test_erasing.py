"""A person is erased on a running system: from every store, for good, and every chain and every copy still agree."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from projections import rebuild
from projections.connections import connect
from projections.rebuild import AnotherRebuild
from streams.archive.deciding import Deciding
from streams.archive.erasing import CannotErase, Done, Eraser
from streams.archive.erasures import Erasures
from streams.archive.operations import Operations
from streams.archive.reading import Archive
from streams.archive.restoring import Restore
from streams.archive.verifying import verify_archive
from streams.domain import commands
from streams.domain.catalogue import TYPE_OF
from streams.domain.signals import Signal
from streams.runtime.attachment_storage import key_of
from streams.runtime.object_storage import ObjectStorage, UnknownObject
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import KEY, SIGNING, MakeArchiver, contents, database_settings
from tests.archive.erasing import (
    EVENTS,
    FILES,
    INTAKE,
    NOW,
    PERSON,
    REQUEST,
    TENANT,
    live,
    message,
    names_anybody,
    objects,
    rebuilt,
    verified,
)
from tests.harness.kafka import own_topics
from tests.harness.postgres import created_database
from tests.harness.record import read_topic, send
from tests.harness.stack import ROOT, Connections
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]


@pytest.fixture
def database(stack: Connections, migrated_template: str) -> Iterator[DatabaseSettings]:
    """A database of this test's own."""
    with created_database(stack["DATABASE_URL"], migrated_template) as url:
        yield database_settings(url)


@pytest.fixture
def eraser(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    operations: Operations,
) -> Eraser:
    """As the command makes it."""
    from projections.checkpoints import passed

    archiver = make_archiver()

    def how_far(topic: str) -> dict[int, int]:
        with connect(database, "owner", name="test") as connection:
            return passed(connection, topic)

    archiver.passed = how_far
    return Eraser(kafka, database, archiver, archive, operations, 90)


@contextmanager
def running(kafka: KafkaSettings, database: DatabaseSettings, logs: Path) -> Iterator[None]:
    """A worker and a projector."""
    env = environment(kafka, DATABASE_URL=database.url.get_secret_value())
    with process(["worker"], env, logs / "worker.log"), process(["projector"], env, logs / "projector.log"):
        yield


def test_a_person_is_erased_everywhere_and_everything_still_agrees(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    eraser: Eraser,
    archive: Archive,
    operations: Operations,
    storage: ObjectStorage,
    object_storage: ObjectStorageSettings,
    kafka_settings: KafkaSettings,
    stack: Connections,
    migrated_template: str,
    tmp_path: Path,
) -> None:
    with running(kafka, database, tmp_path):
        live(kafka, database, object_storage)
        eraser.archiver.round(final=True)
        operations.take(database, NOW)
        former = objects(archive)
        other = [record for record in read_topic(kafka, EVENTS) if record.key == b"other"]
        looked = eraser.look(REQUEST)
        assert names_anybody(kafka, archive, database), "the test is worth nothing otherwise"
        done = eraser.run(REQUEST, NOW)
        assert names_anybody(kafka, archive, database) == []
        _said_what_was_done(looked, done)
        left = {what: _is_there(storage, content) for what, content in FILES.items()}
        assert left == {"own": False, "shared": True, "naming": False, "other": True}
        assert looked.objects == done.objects == 2
        gone = former - objects(archive)
        assert done.files >= len(gone) > 0, "it also wrote and replaced the file that has its own command"
        for key in gone:
            with pytest.raises(UnknownObject):
                storage.get(key)
        held = [r for n in range(4) for r in archive.records(archive.manifest(EVENTS, n)) if r.key == b"other"]
        assert [(r.value, tuple(r.headers)) for r in held] == [(r.value, tuple(r.headers)) for r in other]
        found = verified(kafka, database, archive)
        assert found.whole, (found.problems, found.damage)
        assert found.erased == sum(done.events.values()) > 5
        assert rebuilt(kafka, database, archive, object_storage)
        again = Deciding(kafka, archive).run()
        assert (again.differences, again.not_compared) == ([], [])
        assert again.events == found.events
    restored, empty = own_topics(kafka_settings), created_database(stack["DATABASE_URL"], migrated_template)
    with empty as url:
        Restore(restored, database_settings(url), archive, operations).run(NOW)
        assert names_anybody(restored, archive, database_settings(url)) == []
        with running(restored, database_settings(url), tmp_path):
            send(restored, [message(TYPE_OF[Signal], 99, Signal("slow", fingerprint="f9", service="shop"))])
            wait_until(lambda: len(contents(restored, EVENTS)) > 0 and _last(restored) > found.events, "it goes on", 90)
        whole = verify_archive(archive, SIGNING)
        assert whole.whole, (whole.problems, whole.damage)
        assert whole.erased == found.erased


def _last(kafka: KafkaSettings) -> int:
    return sum(map(len, contents(kafka, EVENTS).values()))


def _is_there(storage: ObjectStorage, content: bytes) -> bool:
    try:
        return storage.document(key_of(TENANT, hashlib.sha256(content).hexdigest()))[0] == content
    except UnknownObject:
        return False


def _said_what_was_done(looked: Done, done: Done) -> None:
    assert looked.events == done.events
    assert done.records[INTAKE] == looked.records[INTAKE] + 1, "and the command that named the person"
    assert done.state_items == looked.state_items > 0
    assert done.rows == looked.rows
    assert {"read_data.incidents_g1", "read_data.alerts_g1", "ops.outbox_events"} < set(done.rows)
    assert done.snapshots
    assert done.backups
    assert done.pseudonym.startswith("erased-")
    assert any("providers" in one for one in done.left)


def test_an_erasure_that_was_interrupted_is_finished_under_the_same_pseudonym(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    eraser: Eraser,
    archive: Archive,
    object_storage: ObjectStorageSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Killed after the signed document: the old files are still there, rows and Kafka name the person."""

    class Killed(BaseException):
        """As SIGKILL."""

    def killed(*_: object) -> None:
        raise Killed

    with running(kafka, database, tmp_path):
        live(kafka, database)
        with monkeypatch.context() as patch:
            patch.setattr(Eraser, "_delete_files", killed)
            with pytest.raises(Killed):
                eraser.run(REQUEST, NOW)
        first = Erasures(archive.storage, archive.prefix).all()[0]
        with rebuild.alone(database), pytest.raises(AnotherRebuild):
            eraser.run(REQUEST, NOW + 1)
        done = eraser.run(REQUEST, NOW + 2)
        assert done.pseudonym == first.pseudonym
        for key in first.files:
            with pytest.raises(UnknownObject):
                archive.storage.get(key)
        archive.forget_files()
        assert names_anybody(kafka, archive, database) == []
        found = verified(kafka, database, archive)
        assert found.whole, (found.problems, found.damage)
        assert rebuilt(kafka, database, archive, object_storage)
        assert not eraser.look(REQUEST).anything


def test_data_that_is_gone_without_a_signed_erasure_is_damage(
    kafka: KafkaSettings, database: DatabaseSettings, eraser: Eraser, archive: Archive, tmp_path: Path
) -> None:
    with running(kafka, database, tmp_path):
        live(kafka, database)
        done = eraser.run(REQUEST, NOW)
    assert verify_archive(archive, SIGNING).erased == sum(done.events.values())
    key = next(iter(archive.storage.keys(f"{archive.prefix}erasures/")))
    document = orjson.loads(archive.storage.document(key)[0])
    archive.storage.overwrite(key, orjson.dumps({**document, "payload": document["payload"].replace("ada", "eve")}))
    found = verify_archive(archive, SIGNING)
    assert any("erasure 1" in problem for problem in found.problems)
    assert {damage.kind for damage in found.damage} == {"edited"}
    assert all("no signed erasure" in damage.detail for damage in found.damage)


def test_nothing_is_erased_while_projections_are_behind(
    kafka: KafkaSettings, database: DatabaseSettings, eraser: Eraser, archive: Archive, tmp_path: Path
) -> None:
    env = environment(kafka, DATABASE_URL=database.url.get_secret_value())
    eraser.wait_s = 45
    with process(["worker"], env, tmp_path / "worker.log"):
        send(kafka, [message(TYPE_OF[commands.Declare], 8, commands.Declare(f"{PERSON} is stuck", "user:ada"))])
        with pytest.raises(CannotErase, match="is it running"):
            eraser.run(REQUEST, NOW)
    assert Erasures(archive.storage, archive.prefix).all() == []


def command(
    kafka: KafkaSettings, database: DatabaseSettings, storage: ObjectStorageSettings, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """`incidents erase`, in the environment of this test."""
    env = environment(
        kafka,
        DATABASE_URL=database.url.get_secret_value(),
        S3_ENDPOINT=storage.endpoint,
        S3_ACCESS_KEY=storage.access_key,
        S3_SECRET_KEY=storage.secret_key.get_secret_value(),
        S3_BUCKET=storage.bucket,
        INCIDENTS_SIGNING_KEY=KEY,
        INCIDENTS_SECRET_KEY=KEY,
    )
    words = [sys.executable, "-m", "cli.main", "erase", "--tenant", TENANT, *arguments]
    return subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_asks_first_says_what_it_did_and_what_it_cannot(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    archive: Archive,
    object_storage: ObjectStorageSettings,
    tmp_path: Path,
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return command(kafka, database, object_storage, *arguments)

    with running(kafka, database, tmp_path):
        live(kafka, database)
        assert run("nobody@example.com", "--dry-run").returncode == 7
        assert run("x", "--dry-run").returncode == 1
        asked = run(PERSON, "--dry-run", "--json")
        assert asked.returncode == 0, asked.stderr
        looked = orjson.loads(asked.stdout)
        assert (looked["dry_run"], looked["pseudonym"]) == (True, "")
        assert looked["records"][EVENTS] > 5
        assert run(PERSON).returncode != 0, "nobody said yes"
        assert names_anybody(kafka, archive, database)
        done = run(PERSON, "--yes", "--reason", "request 17")
        assert done.returncode == 0, done.stderr
        assert "in place of the person stands erased-" in done.stdout
        assert "not erased: what was sent to providers" in done.stdout
        assert names_anybody(kafka, archive, database) == []
        assert run(PERSON, "--yes").returncode == 7
