"""What-if jobs and the reports of shadows: rows of ``ops.simulations``, worked on by simulator processes.

A job belongs to the simulator that has leased it; one whose lease has run out is taken over and begun again, which
gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from projections.connections import AsyncConnection, Connection
from streams.domain.errors import IncidentsError

State = Literal["queued", "running", "done", "failed", "cancelled"]
AT_ONCE = 2
"""How many jobs of a tenant may wait or run."""

KEPT = 20
"""How many jobs of a tenant are kept."""

LEASE_S = 15


class TooMany(IncidentsError):  # noqa: N818
    """The tenant has as many jobs waiting or running as it may."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A job, or a shadow (``kind``), without its report.

    ``request`` is what was asked for, ``done`` of ``total`` records of the intake were read; ``problem`` says why it
    failed.
    """

    simulation_id: str
    tenant_id: str
    kind: Literal["what_if", "shadow"]
    state: State
    request: dict[str, Any]
    done: int
    total: int
    problem: str
    actor: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = "simulation_id, tenant_id, kind, state, request, done, total, problem, actor, created_at, updated_at"
_INSERT = """
INSERT INTO ops.simulations (simulation_id, tenant_id, kind, state, request, actor, created_at, updated_at)
SELECT %(id)s, %(tenant)s, 'what_if', 'queued', %(request)s, %(actor)s, now(), now()
WHERE (SELECT count(*) FROM ops.simulations WHERE tenant_id = %(tenant)s AND kind = 'what_if'
       AND state IN ('queued', 'running')) < %(most)s
"""
_FORGET = """
DELETE FROM ops.simulations WHERE tenant_id = %(tenant)s AND kind = 'what_if' AND state NOT IN ('queued', 'running')
  AND simulation_id NOT IN (SELECT simulation_id FROM ops.simulations WHERE tenant_id = %(tenant)s AND kind = 'what_if'
                            ORDER BY created_at DESC, simulation_id LIMIT %(kept)s)
"""
_CLAIM = f"""
UPDATE ops.simulations SET state = 'running', leased_by = %s, done = 0, total = 0, updated_at = now(),
       leased_until = now() + make_interval(secs => {LEASE_S})
WHERE simulation_id = (
  SELECT simulation_id FROM ops.simulations
  WHERE kind = 'what_if' AND (state = 'queued' OR (state = 'running' AND leased_until < now()))
  ORDER BY created_at, simulation_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
"""  # noqa: S608  only constants
_PROGRESS = f"""
UPDATE ops.simulations SET done = %s, total = %s, updated_at = now(),
       leased_until = now() + make_interval(secs => {LEASE_S})
WHERE simulation_id = %s AND leased_by = %s AND state = 'running'
"""  # noqa: S608  only constants
_FINISH = """
UPDATE ops.simulations SET state = %s, problem = %s, report = %s, page = %s, done = greatest(done, total),
       updated_at = now() WHERE simulation_id = %s AND leased_by = %s AND state = 'running'
"""
_CANCEL = """
UPDATE ops.simulations SET state = 'cancelled', updated_at = now()
WHERE simulation_id = %s AND kind = 'what_if' AND state IN ('queued', 'running')
"""
_SHADOW = """
INSERT INTO ops.simulations AS s
  (simulation_id, tenant_id, kind, state, request, actor, created_at, updated_at, done, report, page)
VALUES (%(id)s, %(tenant)s, 'shadow', 'running', %(request)s, '', now(), now(), %(done)s, %(report)s, %(page)s)
ON CONFLICT (simulation_id) DO UPDATE SET report = excluded.report, page = excluded.page, done = excluded.done,
  request = excluded.request, updated_at = now() WHERE s.done <= excluded.done
"""
_ENDED = "DELETE FROM ops.simulations WHERE kind = 'shadow' AND NOT (simulation_id = ANY (%s))"

# A draft is what was published last to run in the shadow, unless it was promoted or withdrawn since.
_DRAFTS = """
SELECT DISTINCT ON (tenant_id) tenant_id, data -> 'content', recorded_at, event_id FROM read.timeline_entries
WHERE type = 'com.incidents.configured.v1'
  AND (data ->> 'what' = 'shadow_rule_set' OR data -> 'content' ->> 'change' = 'promote')
ORDER BY tenant_id, tenantsequence DESC
"""


async def submit(connection: AsyncConnection, tenant: str, id_: str, request: dict[str, Any], actor: str) -> None:
    """Queue a job in the open transaction of the tenant; raises ``TooMany``."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 20261126))", [tenant])
    values = {"id": id_, "tenant": tenant, "request": Jsonb(request), "actor": actor, "most": AT_ONCE, "kept": KEPT}
    if not (await connection.execute(_INSERT, values)).rowcount:
        raise TooMany(f"{AT_ONCE} what-ifs of the tenant wait or run")
    await connection.execute(_FORGET, values)


async def find(connection: AsyncConnection, id_: str) -> Simulation | None:
    """A job of the session's tenant."""
    query = f"SELECT {_COLUMNS} FROM ops.simulations WHERE simulation_id = %s AND kind = 'what_if'"  # noqa: S608
    async with connection.cursor(row_factory=class_row(Simulation)) as cursor:
        await cursor.execute(query.encode(), [id_])
        return await cursor.fetchone()


async def listed(connection: AsyncConnection) -> Sequence[Simulation]:
    """The jobs of the session's tenant, the newest first."""
    query = f"SELECT {_COLUMNS} FROM ops.simulations WHERE kind = 'what_if' ORDER BY created_at DESC, simulation_id"  # noqa: S608
    async with connection.cursor(row_factory=class_row(Simulation)) as cursor:
        await cursor.execute(query.encode())
        return await cursor.fetchall()


async def report(connection: AsyncConnection, id_: str) -> tuple[str, str] | None:
    """The finished report of a job, as JSON and as a page."""
    query = "SELECT report, page FROM ops.simulations WHERE simulation_id = %s AND state = 'done'"
    return await (await connection.execute(query, [id_])).fetchone()


async def shadow(connection: AsyncConnection) -> tuple[dict[str, Any], datetime, str, str] | None:
    """The live report of the session's tenant: what runs, when it last grew, the report as JSON and as a page."""
    query = (
        "SELECT request, updated_at, report, page FROM ops.simulations WHERE kind = 'shadow' ORDER BY created_at DESC"
    )
    return await (await connection.execute(query)).fetchone()


async def cancel(connection: AsyncConnection, id_: str) -> bool:
    """Cancel a job of the session's tenant that is not over; whether there was one."""
    return bool((await connection.execute(_CANCEL, [id_])).rowcount)


def shadow_of(connection: Connection, tenant: str) -> tuple[dict[str, Any], datetime, str, str] | None:
    """As ``shadow``, for an operator, who may ask about any tenant."""
    query = "SELECT request, updated_at, report, page FROM ops.simulations WHERE kind = 'shadow' AND tenant_id = %s"
    return connection.execute(query, [tenant]).fetchone()


def claim(connection: Connection, holder: str) -> Simulation | None:
    """Take the oldest job that waits, or whose holder is gone."""
    with connection.cursor(row_factory=class_row(Simulation)) as cursor:
        return cursor.execute(_CLAIM.encode(), [holder]).fetchone()


def progress(connection: Connection, id_: str, holder: str, done: int, total: int) -> bool:
    """Say how far a job is and keep it; false when it was cancelled or taken over: leave it alone then."""
    return bool(connection.execute(_PROGRESS.encode(), [done, total, id_, holder]).rowcount)


def finish(connection: Connection, id_: str, holder: str, outcome: tuple[State, str], texts: tuple[str, str]) -> bool:
    """End a job: its state, the problem where it failed, and its report as JSON and as a page."""
    return bool(connection.execute(_FINISH, [*outcome, *texts, id_, holder]).rowcount)


def drafts(connection: Connection) -> list[tuple[str, dict[str, str], datetime, str]]:
    """The drafts that run in a shadow: tenant, content of the rule set, when and by which event it was published."""
    rows = connection.execute(_DRAFTS).fetchall()
    return [(tenant, content, at, id_) for tenant, content, at, id_ in rows if content.get("stage") == "shadow"]


def keep_shadow(
    connection: Connection, id_: str, tenant: str, request: dict[str, Any], done: int, texts: tuple[str, str]
) -> None:
    """Show how far a shadow's report has grown; one that read further is not overwritten."""
    report, page = texts
    values = {"id": id_, "tenant": tenant, "request": Jsonb(request), "done": done, "report": report, "page": page}
    connection.execute(_SHADOW, values)


def end_shadows(connection: Connection, running: list[str]) -> None:
    """Take away the reports of drafts that no longer run."""
    connection.execute(_ENDED, [running])
