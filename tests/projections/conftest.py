"""A migrated database of each test's own, and connections to it with each of the roles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from projections.connections import AsyncPool, Connection, connect, pool
from streams.runtime.settings import DatabaseSettings
from tests.harness.postgres import created_database
from tests.harness.stack import Connections


def settings_for(url: str) -> DatabaseSettings:
    """Settings that know only the owner's URL, as on a developer's machine."""
    return DatabaseSettings(url=SecretStr(url), api_url=SecretStr(""), projector_url=SecretStr(""))


@pytest.fixture
def empty_database(empty_database_url: str) -> DatabaseSettings:
    """A database without any schema."""
    return settings_for(empty_database_url)


@pytest.fixture
def database(stack: Connections, migrated_template: str) -> Iterator[DatabaseSettings]:
    """A migrated database of the test's own."""
    with created_database(stack["DATABASE_URL"], migrated_template) as url:
        yield settings_for(url)


@pytest.fixture
def owner(database: DatabaseSettings) -> Iterator[Connection]:
    """The owner's connection, in autocommit mode."""
    with connect(database, "owner", name="test", autocommit=True) as connection:
        yield connection


@pytest.fixture
def projector(database: DatabaseSettings) -> Iterator[Connection]:
    """The projector's connection."""
    with connect(database, "projector", name="test") as connection:
        yield connection


@pytest.fixture
async def api_pool(database: DatabaseSettings) -> AsyncIterator[AsyncPool]:
    """The API's pool."""
    async with pool(database, "api", name="test", max_size=4) as opened:
        yield opened
