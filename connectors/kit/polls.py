"""The SQL of the poller: whose turn it is, how far each list was read, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from connectors.kit.outbox import AsyncConnection
from connectors.kit.tickets import Cursor

_ADD: Final = """
INSERT INTO ops.polls (integration_id, tenant_id, next_poll_at)
SELECT i.integration_id, i.tenant_id, now() FROM ops.integrations i
WHERE i.connector = ANY(%s) AND i.disabled_at IS NULL
  AND NOT EXISTS (SELECT FROM ops.polls p WHERE p.integration_id = i.integration_id)
ON CONFLICT DO NOTHING
"""
_LEASE: Final = """
WITH due AS (
  SELECT p.integration_id FROM ops.polls p
  JOIN ops.integrations i ON i.integration_id = p.integration_id AND i.disabled_at IS NULL
  WHERE p.next_poll_at <= now() AND (p.leased_until IS NULL OR p.leased_until <= now())
  ORDER BY p.next_poll_at LIMIT %(limit)s FOR UPDATE OF p SKIP LOCKED)
UPDATE ops.polls p SET leased_by = %(owner)s, leased_until = now() + make_interval(secs => %(lease_s)s)
FROM due LEFT JOIN ops.poll_cursors c USING (integration_id)
WHERE p.integration_id = due.integration_id
RETURNING p.integration_id, p.tenant_id, p.failures, coalesce(c.updated_at, 0) AS updated_at,
          coalesce(c.external_id, '') AS external_id, coalesce(c.began, 0) AS began
"""
_SAVE: Final = """
WITH held AS (
  UPDATE ops.polls SET leased_until = now() + make_interval(secs => %(lease_s)s)
  WHERE integration_id = %(integration)s AND leased_by = %(owner)s
  RETURNING integration_id, tenant_id),
saved AS (
  INSERT INTO ops.poll_cursors AS c (integration_id, tenant_id, updated_at, external_id, began)
  SELECT integration_id, tenant_id, %(updated_at)s, %(external_id)s, %(began)s FROM held
  ON CONFLICT (integration_id) DO UPDATE
  SET updated_at = excluded.updated_at, external_id = excluded.external_id, began = excluded.began
  WHERE (c.updated_at, c.external_id, c.began)
    IS DISTINCT FROM (excluded.updated_at, excluded.external_id, excluded.began))
SELECT integration_id FROM held
"""
_FINISH: Final = """
UPDATE ops.polls
SET next_poll_at = now() + make_interval(secs => %(delay_s)s), leased_by = NULL, leased_until = NULL,
    last_error = %(error)s, failures = CASE WHEN %(error)s = '' THEN 0 ELSE failures + 1 END,
    polled_at = CASE WHEN %(error)s = '' THEN now() ELSE polled_at END
WHERE integration_id = %(integration)s AND leased_by = %(owner)s
"""
_STATE: Final = """
SELECT extract(epoch FROM min(greatest(p.next_poll_at, coalesce(p.leased_until, p.next_poll_at))) - now())::float8
         AS due,
       coalesce(max(extract(epoch FROM now() - coalesce(p.polled_at, i.created_at))), 0)::float8 AS oldest,
       coalesce(string_agg(p.integration_id || ': ' || p.last_error, '; ' ORDER BY p.integration_id)
                FILTER (WHERE p.failures > 0), '') AS errors
FROM ops.polls p JOIN ops.integrations i ON i.integration_id = p.integration_id AND i.disabled_at IS NULL
"""
_MAX_ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Leased:
    """An integration whose list this process alone reads until its lease ends; ``failures`` in a row came before."""

    integration_id: str
    tenant_id: str
    failures: int
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class State:
    """Seconds until the next list may be read (``None``: there is none), since the one read longest ago, and errors."""

    due_s: float | None
    oldest_s: float
    errors: str


async def add_new(connection: AsyncConnection, connectors: Sequence[str]) -> None:
    """Give each active integration of these connectors its row."""
    await connection.execute(_ADD, (list(connectors),))


async def lease(connection: AsyncConnection, owner: str, limit: int, lease_s: float) -> list[Leased]:
    """Take up to ``limit`` integrations whose turn it is."""
    cursor = await connection.execute(_LEASE, {"owner": owner, "limit": limit, "lease_s": lease_s})
    return [
        Leased(
            row["integration_id"],
            row["tenant_id"],
            row["failures"],
            Cursor(row["updated_at"], row["external_id"], row["began"]),
        )
        for row in await cursor.fetchall()
    ]


async def save(connection: AsyncConnection, owner: str, leased: Leased, cursor: Cursor, lease_s: float) -> bool:
    """Remember how far the list was read and hold on to it; false when somebody else has taken it over."""
    arguments = {
        "integration": leased.integration_id,
        "owner": owner,
        "lease_s": lease_s,
        "updated_at": cursor.updated_at,
        "external_id": cursor.external_id,
        "began": cursor.began,
    }
    return await (await connection.execute(_SAVE, arguments)).fetchone() is not None


async def finish(connection: AsyncConnection, owner: str, integration_id: str, delay_s: float, error: str = "") -> None:
    """Give the lease back: the list is read again after ``delay_s``."""
    arguments = {"integration": integration_id, "owner": owner, "delay_s": delay_s}
    await connection.execute(_FINISH, {**arguments, "error": error[:_MAX_ERROR_CHARACTERS]})


async def state(connection: AsyncConnection) -> State:
    """What there is to do and what goes wrong."""
    row = await (await connection.execute(_STATE)).fetchone()
    if row is None:
        return State(None, 0.0, "")
    return State(row["due"], max(0.0, row["oldest"]), row["errors"])
