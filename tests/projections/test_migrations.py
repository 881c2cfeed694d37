"""Migrations: up, down, up; twice; side by side; and the committed description of the schema is not stale."""

from __future__ import annotations

import os
import threading
from importlib.resources import files
from pathlib import Path

import pytest

from projections import migrate
from projections.connections import connect
from projections.migrations.describe import describe
from streams.runtime.settings import DatabaseSettings

pytestmark = pytest.mark.stack

REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009"]


def test_every_migration_goes_up_down_up(empty_database: DatabaseSettings) -> None:
    below = "base"
    for revision in REVISIONS:
        assert migrate.upgrade(empty_database, revision) == [revision]
        assert migrate.downgrade(empty_database, below) == [revision]
        assert migrate.upgrade(empty_database, revision) == [revision]
        below = revision
    assert migrate.current(empty_database) == migrate.head() == REVISIONS[-1]


def test_upgrade_twice_is_harmless(empty_database: DatabaseSettings) -> None:
    assert migrate.upgrade(empty_database) == REVISIONS
    assert migrate.upgrade(empty_database) == []
    migrate.check(empty_database)


def test_downgrade_to_base_leaves_nothing(empty_database: DatabaseSettings) -> None:
    migrate.upgrade(empty_database)
    migrate.downgrade(empty_database)
    with connect(empty_database, "owner", name="test") as connection:
        query = "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text IN ('read', 'read_data', 'ops')"
        assert {name for (name,) in connection.execute(query)} == {"alembic_version", "alembic_version_pkc"}


def test_two_migrators_take_turns(empty_database: DatabaseSettings) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate.upgrade(empty_database))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(applied, key=len) == [[], [], REVISIONS]


def test_check_names_both_versions(empty_database: DatabaseSettings) -> None:
    with pytest.raises(migrate.SchemaMismatch, match=r"has schema none, this version needs 0009"):
        migrate.check(empty_database)


def test_the_committed_description_is_not_stale(empty_database: DatabaseSettings) -> None:
    """Write it anew with UPDATE=1 in the environment; the difference is part of the review."""
    migrate.upgrade(empty_database)
    with connect(empty_database, "owner", name="test") as connection:
        found = describe(connection)
    committed = Path(str(files("projections") / "migrations" / "schema.sql"))
    if os.environ.get("UPDATE") == "1":
        committed.write_text(found)
    assert committed.read_text() == found


def test_the_description_shows_a_change(empty_database: DatabaseSettings) -> None:
    migrate.upgrade(empty_database)
    with connect(empty_database, "owner", name="test") as connection:
        before = describe(connection)
        connection.execute("DROP POLICY tenant ON read_data.incidents_g1")
        connection.execute("GRANT DELETE ON ops.tenants TO incidents_api")
        assert len(set(before.splitlines()) ^ set(describe(connection).splitlines())) == 3
