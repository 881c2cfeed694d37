"""Brings the database schema to the version of this code (alembic), and says which version it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from projections.connections import connect
from streams.domain.errors import IncidentsError
from streams.runtime.settings import DatabaseSettings

_LOCK = 0x696E6369
"""Advisory lock of this database: two migrators take turns."""


class SchemaMismatch(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """The database has another schema version than this code needs."""


def upgrade(settings: DatabaseSettings, revision: str = "head") -> list[str]:
    """Apply what is missing up to ``revision`` and return the revisions applied, oldest first; safe to run twice.

    Connects as the owner. Raises ``sqlalchemy.exc.OperationalError`` when the database is out of reach.
    """
    return _run(settings, command.upgrade, revision)


def downgrade(settings: DatabaseSettings, revision: str = "base") -> list[str]:
    """Take migrations back down to ``revision`` (``base``: all; their data is gone); returns those taken back."""
    return _run(settings, command.downgrade, revision)


def current(settings: DatabaseSettings) -> str:
    """The revision that the database has; empty when it was never migrated."""
    with _connection(settings) as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": "ops"})
        return context.get_current_revision() or ""


def head() -> str:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def check(settings: DatabaseSettings) -> None:
    """Raise ``SchemaMismatch`` unless the database has exactly this code's schema."""
    found, wanted = current(settings), head()
    if found != wanted:
        raise SchemaMismatch(f"the database has schema {found or 'none'}, this version needs {wanted}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("projections") / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connection(settings: DatabaseSettings) -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(settings, "owner", name="migrate"),
        poolclass=sqlalchemy.NullPool,
    )
    with engine.connect() as connection:
        yield connection


def _run(settings: DatabaseSettings, action: Any, revision: str) -> list[str]:
    applied: list[str] = []

    def record(*, step: Any, **_: Any) -> None:
        applied.append(step.up_revision_id)

    with _connection(settings) as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.execute(sqlalchemy.text("CREATE SCHEMA IF NOT EXISTS ops"))
        connection.commit()
        config = _config()
        config.attributes["connection"] = connection
        config.attributes["on_version_apply"] = record
        action(config, revision)
        connection.commit()
    return applied
