"""PostgreSQL for a test module: a fresh database, copied from one that was migrated once for the session."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from streams.runtime.settings import DatabaseSettings
from tests.harness.stack import Connections


def database_of(url: str, name: str) -> str:
    """The same server and login, another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@contextmanager
def created_database(url: str, template: str = "template1") -> Iterator[str]:
    """The URL of a new database on the server of `url`, copied from a template and dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    dropped = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(made)
        try:
            yield database_of(url, name)
        finally:
            connection.execute(dropped)


@pytest.fixture(scope="session")
def migrated_template(stack: Connections) -> Iterator[str]:
    """The name of a database in which all migrations have run and to which nobody connects."""
    from projections.migrate import upgrade

    with created_database(stack["DATABASE_URL"]) as url:
        upgrade(DatabaseSettings(url=SecretStr(url)))
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture(scope="module")
def database_url(stack: Connections, migrated_template: str) -> Iterator[str]:
    """The owner's URL of a fresh, migrated database of this test module."""
    with created_database(stack["DATABASE_URL"], migrated_template) as url:
        yield url


@pytest.fixture
def empty_database_url(stack: Connections) -> Iterator[str]:
    """The owner's URL of a fresh database without any table, for tests of the migrations themselves."""
    with created_database(stack["DATABASE_URL"]) as url:
        yield url
