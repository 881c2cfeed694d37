"""Connections to PostgreSQL, each with the narrow role of its process, and the check that the role is narrow (R10)."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.string import BytesBinaryDumper
from psycopg_pool import AsyncConnectionPool

from streams.domain.errors import IncidentsError
from streams.runtime.settings import DatabaseRole, DatabaseSettings

CONNECT_TIMEOUT_S = 5
NETWORK = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A server that has gone without a word is noticed in half a minute, not in the hours that the kernel would wait."""

STATEMENT_TIMEOUT_MS: dict[DatabaseRole, int] = {"owner": 0, "api": 10_000, "projector": 60_000}
LOCK_TIMEOUT_MS: dict[DatabaseRole, int] = {"owner": 0, "api": 2_000, "projector": 10_000}
IDLE_TRANSACTION_MS: dict[DatabaseRole, int] = {"owner": 0, "api": 5_000, "projector": 5_000}
"""A process that froze in a transaction, or whose host is gone, holds its locks no longer than that: somebody waits to
take its work over."""

Connection = psycopg.Connection[TupleRow]
AsyncConnection = psycopg.AsyncConnection[TupleRow]
AsyncPool = AsyncConnectionPool[AsyncConnection]

_PRIVILEGES = """
SELECT r.rolname, r.rolsuper, r.rolbypassrls,
       ARRAY(SELECT format('%s.%s', c.relnamespace::regnamespace, c.relname) FROM pg_class c
             WHERE c.relowner = r.oid AND c.relnamespace::regnamespace::text IN ('read', 'read_data', 'ops')
             ORDER BY 1)
FROM pg_roles r WHERE r.rolname = current_user
"""


class TooPowerfulRole(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """The role of the API could see other tenants' rows: row-level security would not hold it back."""


def parameters(settings: DatabaseSettings, role: DatabaseRole, application_name: str) -> dict[str, Any]:
    """Arguments for ``psycopg.connect``: the URL, with role, time limits and name set in the start-up packet.

    The role arrives with the connection itself, so that no statement ever runs before the switch.
    """
    url, set_role = settings.conninfo(role)
    arguments = conninfo_to_dict(url)
    options = [str(arguments.get("options") or "")]
    if set_role:
        options.append(f"-c role={set_role}")
    options.append(f"-c statement_timeout={STATEMENT_TIMEOUT_MS[role]}")
    options.append(f"-c lock_timeout={LOCK_TIMEOUT_MS[role]}")
    options.append(f"-c idle_in_transaction_session_timeout={IDLE_TRANSACTION_MS[role]}")
    options.append("-c timezone=UTC")
    given = {**NETWORK, **arguments}
    return {**given, "options": " ".join(options).strip(), "application_name": application_name}


def connect(settings: DatabaseSettings, role: DatabaseRole, *, name: str, autocommit: bool = False) -> Connection:
    """A connection of a process (``name`` shows in ``pg_stat_activity``); raises ``psycopg.OperationalError``."""
    connection = psycopg.connect(autocommit=autocommit, **parameters(settings, role, f"incidents-{name}"))
    # For COPY, psycopg would take its wrapper of ``dbapi20.Binary``, written in Python: a fifth of formatting a row.
    connection.adapters.register_dumper(bytes, BytesBinaryDumper)
    return connection


def pool(settings: DatabaseSettings, role: DatabaseRole, *, name: str, max_size: int = 8) -> AsyncPool:
    """A pool that is not open yet: use it as ``async with``, or call its ``open`` and ``close``.

    Its connections are in autocommit mode, as ``queries.tenant.tenant_session`` needs them. An API that is running
    survives an absent database: a caller waits at most five seconds for a connection, then gets ``PoolTimeout``.
    """
    return AsyncConnectionPool(
        kwargs={**parameters(settings, role, f"incidents-{name}"), "autocommit": True},
        min_size=1,
        max_size=max_size,
        open=False,
        timeout=CONNECT_TIMEOUT_S,
        max_idle=300,
        name=name,
        check=None,
    )


class Plans:
    """The plans of one connection's prepared statements, which would otherwise stay those of the first batches.

    A table that was empty then is read as a whole, or by the wrong index, until it is analyzed: a minute, in a storm.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._batches = 0

    def batch(self) -> None:
        """A batch begins: whenever their number has doubled, have every statement planned anew."""
        self._batches += 1
        if self._batches.bit_count() == 1:
            self._connection.execute(b"DISCARD PLANS")


async def refuse_powerful_role(connection: AsyncConnection) -> None:
    """Raise ``TooPowerfulRole`` when the session's role is superuser, has BYPASSRLS or owns tables of the product."""
    row = await (await connection.execute(_PRIVILEGES)).fetchone()
    assert row is not None, "current_user is always in pg_roles"
    name, superuser, bypass, owned = row
    problems = [text for text, found in (("is superuser", superuser), ("has BYPASSRLS", bypass)) if found]
    if owned:
        problems.append(f"owns {', '.join(owned)}")
    if problems:
        raise TooPowerfulRole(f"role {name} {' and '.join(problems)}: row-level security would not bind the API")
