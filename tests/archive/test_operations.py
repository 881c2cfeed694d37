"""Backups of the operational tables: encrypted, only when something changed, few are kept."""

from __future__ import annotations

import psycopg
import pytest
from pydantic import SecretStr

from connectors.kit.secrets import ConnectorSettings, SecretBox, SecretsSealed
from projections.connections import connect
from streams.archive.operations import KEPT, Operations
from streams.domain.errors import Transient
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import DatabaseSettings
from tests.archive.conftest import box, database_settings

pytestmark = pytest.mark.stack
NOW = 1_800_000_000_000
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
    kept = list(storage.keys(f"{PREFIX}operations/"))
    assert len(kept) == KEPT
    newest = operations.latest()
    assert newest is not None
    assert newest.rows["tenants"] == KEPT + 3


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
