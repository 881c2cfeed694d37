"""The SQL on ``ops.outbox_events``: leasing intents and recording what became of them.

The projector inserts the rows; only the dispatcher changes ``state``. The order within an incident is that of the
topic: an intent is leased only when no earlier one of the same incident and integration is unfinished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg

from streams.domain.outputs import Intent

CHANNEL: Final = "incidents_outbox"
FinalState = Literal["delivered", "failed", "expired"]
AsyncConnection = psycopg.AsyncConnection[dict[str, Any]]

_LEASE = """
WITH due AS (
  SELECT o.intent_id FROM ops.outbox_events o
  WHERE o.state = 'pending' AND o.next_attempt_at <= now() AND (o.leased_until IS NULL OR o.leased_until <= now())
    AND NOT o.integration_id = ANY(%(held_back)s)
    AND NOT EXISTS (
      SELECT FROM ops.outbox_events e
      WHERE e.state = 'pending' AND e.tenant_id = o.tenant_id AND e.incident_id = o.incident_id
        AND e.integration_id = o.integration_id
        AND (e.topic_partition, e.topic_offset) < (o.topic_partition, o.topic_offset))
  ORDER BY o.next_attempt_at, o.topic_partition, o.topic_offset
  LIMIT %(limit)s FOR UPDATE OF o SKIP LOCKED)
UPDATE ops.outbox_events o
SET leased_by = %(owner)s, leased_until = now() + make_interval(secs => %(lease_s)s), attempts = o.attempts + 1
FROM due WHERE o.intent_id = due.intent_id
RETURNING o.intent_id, o.tenant_id, o.incident_id, o.connector, o.integration_id, o.action, o.external_id,
          o.idempotency_key, o.payload, o.event_id, o.attempts,
          (extract(epoch FROM o.created_at) * 1000)::bigint AS created,
          coalesce((extract(epoch FROM o.not_after) * 1000)::bigint, 0) AS not_after,
          coalesce(o.not_after <= now(), false) AS is_late
"""
_FINISH = """
UPDATE ops.outbox_events
SET state = %(state)s, last_error = %(error)s, finished_at = now(), leased_by = NULL, leased_until = NULL
WHERE intent_id = %(intent)s AND leased_by = %(owner)s AND state = 'pending'
"""
_RETRY = """
UPDATE ops.outbox_events
SET next_attempt_at = now() + make_interval(secs => %(delay_s)s), last_error = %(error)s,
    attempts = attempts - %(uncounted)s, leased_by = NULL, leased_until = NULL
WHERE intent_id = %(intent)s AND leased_by = %(owner)s AND state = 'pending'
"""
_RENEW = """
UPDATE ops.outbox_events SET leased_until = now() + make_interval(secs => %(lease_s)s)
WHERE intent_id = ANY(%(intents)s) AND leased_by = %(owner)s AND state = 'pending'
RETURNING intent_id
"""
_PENDING = """
SELECT extract(epoch FROM min(greatest(next_attempt_at, coalesce(leased_until, next_attempt_at))) - now())::float8
         AS due,
       extract(epoch FROM now() - min(created_at))::float8 AS oldest
FROM ops.outbox_events WHERE state = 'pending'
"""
_MAX_ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Leased:
    """An intent that this process alone may carry out until its lease ends; ``attempt`` counts from 1."""

    intent: Intent
    tenant_id: str
    attempt: int
    is_late: bool


async def lease(
    connection: AsyncConnection, owner: str, limit: int, lease_s: float, held_back: Sequence[str]
) -> list[Leased]:
    """Take up to ``limit`` intents that are due, none of the integrations that are ``held_back``.

    The attempt is counted before anything is sent: after a crash the next one knows to look first.
    """
    arguments = {"owner": owner, "limit": limit, "lease_s": lease_s, "held_back": list(held_back)}
    cursor = await connection.execute(_LEASE, arguments)
    return [_leased(row) for row in await cursor.fetchall()]


def _leased(row: dict[str, Any]) -> Leased:
    tenant_id, attempt, is_late = row.pop("tenant_id"), row.pop("attempts"), row.pop("is_late")
    return Leased(Intent(**row), tenant_id, attempt, is_late)


async def finish(connection: AsyncConnection, owner: str, intent_id: str, state: FinalState, error: str = "") -> bool:
    """Close an intent for good; false when the lease had gone to somebody else, who then will."""
    arguments = {"state": state, "error": error[:_MAX_ERROR_CHARACTERS], "intent": intent_id, "owner": owner}
    return bool((await connection.execute(_FINISH, arguments)).rowcount)


async def retry_later(
    connection: AsyncConnection, owner: str, intent_id: str, delay_s: float, error: str, *, counted: bool = True
) -> None:
    """Give the lease back, to be tried after ``delay_s``; ``counted`` is false where nothing was sent."""
    arguments = {
        "delay_s": delay_s,
        "error": error[:_MAX_ERROR_CHARACTERS],
        "intent": intent_id,
        "owner": owner,
        "uncounted": 0 if counted else 1,
    }
    await connection.execute(_RETRY, arguments)


async def renew(connection: AsyncConnection, owner: str, intent_ids: Sequence[str], lease_s: float) -> list[str]:
    """Hold the leases for ``lease_s`` more (0: give them back); which of them are still this owner's."""
    arguments = {"lease_s": lease_s, "intents": list(intent_ids), "owner": owner}
    cursor = await connection.execute(_RENEW, arguments)
    return [row["intent_id"] for row in await cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Pending:
    """What is not finished: seconds until the next may be leased (negative: now) and age of the oldest, in seconds."""

    due_s: float
    oldest_s: float


async def pending(connection: AsyncConnection) -> Pending | None:
    """What waits; ``None`` when nothing does."""
    row = await (await connection.execute(_PENDING)).fetchone()
    return None if row is None or row["due"] is None else Pending(float(row["due"]), max(0.0, float(row["oldest"])))
