"""Brings the database schema to the version of this code (alembic), and says which version it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import psycopg
import sqlalchemy
import sqlalchemy.exc
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from projections.connections import connect
from streams.domain.errors import IncidentsError
from streams.runtime.settings import DatabaseRole, DatabaseSettings

_LOCK = 0x696E6369
"""Advisory lock of this database: two migrators take turns."""
_SAY_EVERY_S, _LOOK_EVERY_S = 10.0, 0.5
_LOG = structlog.get_logger()


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


def current(settings: DatabaseSettings, role: DatabaseRole = "owner") -> str:
    """The revision that the database has; empty when it was never migrated. Any role may ask."""
    with _connection(settings, role) as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": "ops"})
        return context.get_current_revision() or ""


def head() -> str:
    """The newest revision that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def check(settings: DatabaseSettings, role: DatabaseRole = "owner") -> None:
    """Raise ``SchemaMismatch`` unless the database has exactly this code's schema."""
    found, wanted = current(settings, role), head()
    if found != wanted:
        raise SchemaMismatch(f"the database has schema {found or 'none'}, this version needs {wanted}")


def wait_until_current(settings: DatabaseSettings, stop: threading.Event, role: DatabaseRole = "projector") -> None:
    """Return once the database has this code's schema, or ``stop`` is set; says each ten seconds what it waits for."""
    said = 0.0
    while not stop.is_set():
        try:
            check(settings, role)
        except (SchemaMismatch, sqlalchemy.exc.OperationalError, psycopg.OperationalError) as error:
            if time.monotonic() - said >= _SAY_EVERY_S:
                said = time.monotonic()
                _LOG.warning("database.waiting", reason=str(error))
            stop.wait(_LOOK_EVERY_S)
        else:
            return


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("projections") / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _connection(settings: DatabaseSettings, role: DatabaseRole = "owner") -> Iterator[sqlalchemy.Connection]:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(settings, role, name="migrate"),
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
