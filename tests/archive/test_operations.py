"""Backups of the operational tables: encrypted, only when something changed, few are kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import psycopg
import pytest
from pydantic import SecretStr

from connectors.kit.secrets import ConnectorSettings, SecretBox, SecretsSealed
from projections.connections import connect
from streams.archive.manifests import Overtaken
from streams.archive.operations import KEPT, LOCK_SEED, Operations
from streams.domain.errors import Transient
from streams.runtime.object_storage import ObjectStorage, UnknownObject
from streams.runtime.settings import DatabaseSettings, ObjectStorageSettings
from tests.archive.conftest import box, database_settings
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.stack
NOW = 1_800_000_000_000
TURN = "SELECT pg_advisory_lock(hashtextextended(%s, %s))"
PREFIX = "archive/operations-test/"


def tenant(url: str, name: str) -> None:
    """A change."""
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO ops.tenants VALUES (%s, now())", (name,))


def test_a_backup_is_taken_when_something_changed_and_few_are_kept(storage: ObjectStorage, database_url: str) -> None:
    operations = Operations(storage, PREFIX, box())
    database = database_settings(database_url)
    assert operations.take(database, NOW)
    assert not operations.take(database, NOW + 1), "nothing changed"
    for number in range(KEPT + 3):
        tenant(database_url, f"tenant-{number}")
        assert operations.take(database, NOW + 10 + number)
    listed = orjson.loads(storage.document(f"{PREFIX}operations/backups.json")[0])["backups"]
    assert [one["at"] for one in listed] == [NOW + 13 + number for number in range(KEPT)]
    for one in listed:
        assert storage.get(one["object"])
    newest = operations.latest()
    assert newest is not None
    assert newest.rows["tenants"] == KEPT + 3


def test_the_newest_backup_is_the_one_read_last_whatever_the_clock_says(
    storage: ObjectStorage, database_url: str
) -> None:
    """Two hosts take turns; an erasure removes every backup but its own, so the order must be true."""
    database, counts = database_settings(database_url), []
    for number, at in enumerate((NOW, NOW, NOW - 60_000, NOW - 1)):
        tenant(database_url, f"clock-{number}")
        operations = Operations(storage, f"{PREFIX}clocks/", box())
        assert operations.take(database, at)
        newest = operations.latest()
        assert newest is not None
        counts.append(newest.rows["tenants"])
    assert counts == [counts[0] + number for number in range(4)]
    assert operations.remove_others() == 3
    assert operations.latest() == newest


def test_one_backup_is_taken_at_a_time(storage: ObjectStorage, database_url: str) -> None:
    database, prefix = database_settings(database_url), f"{PREFIX}turns/"
    with psycopg.connect(database_url, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        (before,) = other.execute("SELECT count(*) FROM ops.tenants").fetchone() or (0,)
        other.execute(TURN, (f"{prefix}operations/backups.json", LOCK_SEED))
        taken = pool.submit(Operations(storage, prefix, box()).take, database, NOW)
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(lambda: other.execute(waiting).fetchone() == (1,), "the backup to wait for its turn", 30)
        tenant(database_url, "changed meanwhile")
        other.execute("SELECT pg_advisory_unlock_all()")
        assert taken.result(30)
    newest = Operations(storage, prefix, box()).latest()
    assert newest is not None
    assert newest.rows["tenants"] == before + 1, "it reads when its turn has come"


def test_a_process_that_froze_in_its_backup_is_not_waited_for_for_ever(
    storage: ObjectStorage, database_url: str
) -> None:
    prefix = f"{PREFIX}frozen/"
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(TURN, (f"{prefix}operations/backups.json", LOCK_SEED))
        with pytest.raises(Transient, match="lock timeout"):
            Operations(storage, prefix, box(), turn_s=0.2).take(database_settings(database_url), NOW)


class SleepyStorage(ObjectStorage):
    """Sleeps the first time that it stores something: the tables are read by then, and nothing names what was read."""

    def __init__(self, settings: ObjectStorageSettings) -> None:
        super().__init__(settings)
        self.asleep, self.wake = threading.Event(), threading.Event()
        self.stored: list[str] = []

    def put(self, content: bytes, content_type: str = "application/octet-stream", folder: str = "") -> str:
        key = super().put(content, content_type, folder)
        self.stored.append(key)
        self.asleep.set()
        assert self.wake.wait(30)
        return key


def end_the_session_with_the_turn(url: str) -> None:
    """As the server does with a client that it hears nothing from."""
    query = """
        SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute(query).fetchall() == [(True,)]


def test_an_archiver_that_slept_between_reading_and_naming_is_overtaken(
    storage: ObjectStorage, object_storage: ObjectStorageSettings, database_url: str
) -> None:
    """Its session ended meanwhile, so that another took its turn; what it had read must not become the newest."""
    database, prefix, sleepy = database_settings(database_url), f"{PREFIX}overtaken/", SleepyStorage(object_storage)
    sleeper, other = Operations(sleepy, prefix, box()), Operations(storage, prefix, box())
    assert other.take(database, NOW)
    tenant(database_url, "before both")
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(sleeper.take, database, NOW + 1_000)
        assert sleepy.asleep.wait(30)
        end_the_session_with_the_turn(database_url)
        tenant(database_url, "after the sleeper had read")
        assert other.take(database, NOW + 500)
        newest = other.latest()
        assert other.remove_others() == 1, "an erasure: nothing older may come back"
        sleepy.wake.set()
        with pytest.raises(Overtaken, match="changed since the operational tables were read"):
            taken.result(30)
    assert other.latest() == newest
    with pytest.raises(UnknownObject):
        storage.get(sleepy.stored[0])
    assert sleeper.take(database, NOW + 2_000), "it reads again"


class ProcessDiedError(Exception):
    """Of a process, at the worst moment."""


class DyingStorage(ObjectStorage):
    """Stores, and dies before anybody can name what was stored."""

    def put(self, content: bytes, content_type: str = "application/octet-stream", folder: str = "") -> str:
        super().put(content, content_type, folder)
        raise ProcessDiedError


def test_what_a_process_stored_and_never_named_goes_with_the_next_backup(
    storage: ObjectStorage, object_storage: ObjectStorageSettings, database_url: str
) -> None:
    """An erasure removes every backup but its own: one that nobody names must not stay."""
    database, prefix = database_settings(database_url), f"{PREFIX}died/"
    with pytest.raises(ProcessDiedError):
        Operations(DyingStorage(object_storage), prefix, box()).take(database, NOW)
    [unnamed] = storage.keys(f"{prefix}operations/sha256/")
    operations = Operations(storage, prefix, box())
    assert operations.take(database, NOW + 1)
    newest = operations.latest()
    assert newest is not None
    assert newest.object != unnamed
    assert list(storage.keys(f"{prefix}operations/sha256/")) == [newest.object]


def test_another_key_opens_nothing(storage: ObjectStorage, database_url: str) -> None:
    operations = Operations(storage, f"{PREFIX}sealed/", box())
    operations.take(database_settings(database_url), NOW)
    backup = operations.latest()
    assert backup is not None
    assert b"tenants" not in storage.get(backup.object)
    other = SecretBox(ConnectorSettings(secret_key=SecretStr("b" * 43 + "=")))
    with (
        connect(database_settings(database_url), "owner", name="test") as connection,
        pytest.raises(SecretsSealed, match="a backup was encrypted with key"),
    ):
        Operations(storage, f"{PREFIX}sealed/", other).restore(backup, connection)


def test_a_database_that_is_away_is_waited_for(storage: ObjectStorage) -> None:
    away = DatabaseSettings(url=SecretStr("postgresql://nobody@127.0.0.1:9/none"))
    with pytest.raises(Transient, match="PostgreSQL"):
        Operations(storage, PREFIX, box()).take(away, NOW)
