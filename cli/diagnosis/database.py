"""PostgreSQL and object storage: reach, version, schema, roles, the projector's lag, the outbox and the polls."""

from __future__ import annotations

import time
from collections.abc import Mapping

import psycopg
from confluent_kafka import KafkaException

from cli.diagnosis.finding import Finding, graded
from projections import migrate
from projections.connections import Connection, connect
from streams.runtime.object_storage import ObjectStorage, StorageUnavailable, UnknownObject
from streams.runtime.offsets import asking, bounds
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings

OLDEST = 150_000
OUTBOX_S = (60.0, 900.0)
POLLS_S = (300.0, 3_600.0)
SKEW_S = (2.0, 30.0)
LAG = (5_000, 100_000)
_ASK_S = 5.0
_ABSENT = "sha256/" + "0" * 64


def check_database(settings: DatabaseSettings, kafka: KafkaSettings) -> list[Finding]:
    """Everything about PostgreSQL; only the first where it does not answer."""
    try:
        with connect(settings, "owner", name="doctor", autocommit=True) as connection:
            found = [check_version(connection), check_clock(connection), check_schema(settings)]
            if found[-1].state == "failed":
                return found
            return [
                *found,
                check_roles(connection),
                check_projector(connection, kafka),
                check_outbox(connection),
                check_polls(connection),
            ]
    except psycopg.OperationalError as error:
        return [Finding("postgresql", "failed", str(error).strip(), "incidents up, or check DATABASE_URL")]


def check_version(connection: Connection, oldest: int = OLDEST) -> Finding:
    """PostgreSQL 15 or newer: the views need ``security_invoker``."""
    version = connection.info.server_version
    detail = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < oldest:
        return Finding("postgresql", "failed", detail, f"PostgreSQL {oldest // 10_000} or newer is needed")
    return Finding("postgresql", "ok", detail)


def check_clock(connection: Connection) -> Finding:
    """The database's clock against the one here."""
    [there] = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone() or [0.0]
    skew = abs(there - time.time())
    return graded("database-clock", skew, SKEW_S, f"{skew:.1f} s apart", "synchronize the clocks (NTP)")


def check_schema(settings: DatabaseSettings) -> Finding:
    """The migrations."""
    try:
        migrate.check(settings)
    except migrate.SchemaMismatch as error:
        return Finding("schema", "failed", str(error), "incidents migrate")
    return Finding("schema", "ok", f"schema {migrate.head()}")


def check_roles(connection: Connection) -> Finding:
    """The two roles: the API's subject to row-level security, the projector's not (R10)."""
    rows = connection.execute(
        "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname IN ('incidents_api', 'incidents_projector')"
    ).fetchall()
    found = {name: (bool(is_super), bool(bypasses)) for name, is_super, bypasses in rows}
    return judge_roles(found)


def judge_roles(found: Mapping[str, tuple[bool, bool]]) -> Finding:
    """The finding about roles by name: (superuser, BYPASSRLS)."""
    wrong = []
    if found.get("incidents_api") != (False, False):
        wrong.append("incidents_api must exist with neither SUPERUSER nor BYPASSRLS")
    if "incidents_projector" not in found or not any(found["incidents_projector"]):
        wrong.append("incidents_projector must exist with BYPASSRLS (COPY into tables with row-level security)")
    if wrong:
        return Finding("roles", "failed", "; ".join(wrong), "ALTER ROLE as docs/operations.md says")
    return Finding("roles", "ok", "incidents_api is held by row-level security, incidents_projector is not")


def check_projector(connection: Connection, kafka: KafkaSettings) -> Finding:
    """How far the slowest projection is behind the record."""
    rows = connection.execute(
        "SELECT topic, partition, min(next_offset) FROM ops.projection_checkpoints GROUP BY topic, partition"
    ).fetchall()
    remedy = "start the projector: incidents projector; its log says why it stopped"
    if not rows:
        return Finding("projector-lag", "warning", "no projection has written yet", remedy)
    positions = {(kafka.topic(topic), number): offset for topic, number, offset in rows}
    asker = asking(kafka, kafka.topic("incidents-doctor"))
    try:
        asker.list_topics(timeout=_ASK_S)  # says at once when no broker answers
        ends = bounds(asker, positions)
        lag = sum(max(0, end - positions[place] - 1) for place, (_, end) in ends.items())
    except KafkaException as error:
        return Finding("projector-lag", "warning", f"not known: {error.args[0].str()}", "see kafka")
    finally:
        asker.close()
    return graded("projector-lag", lag, LAG, f"{lag} records behind", remedy)


def check_outbox(connection: Connection) -> Finding:
    """The oldest side effect that waits to be carried out and was due."""
    [count, age] = connection.execute(
        "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8"
        " FROM ops.outbox_events WHERE state = 'pending'"
    ).fetchone() or [0, 0.0]
    detail = f"{count} side effects wait, the oldest for {age:.0f} s"
    return graded("outbox", age, OUTBOX_S, detail, "start the dispatcher; its log and last_error say what fails")


def check_polls(connection: Connection) -> Finding:
    """The list of changed tickets that was read longest ago, and the ones that cannot be read."""
    row = connection.execute(
        "SELECT count(*), coalesce(extract(epoch FROM max(now() - coalesce(p.polled_at, i.created_at))), 0)::float8,"
        " coalesce(string_agg(p.integration_id || ': ' || p.last_error, '; ') FILTER (WHERE p.failures > 0), '')"
        " FROM ops.polls p JOIN ops.integrations i USING (integration_id) WHERE i.disabled_at IS NULL"
    ).fetchone()
    count, age, errors = row or (0, 0.0, "")
    detail = f"{count} ticket systems, the one read longest ago {age:.0f} s ago" + (f"; {errors}" if errors else "")
    found = graded("polls", age, POLLS_S, detail, "start the poller: incidents poller; its log says what fails")
    if errors and found.state == "ok":
        return Finding("polls", "warning", detail, "check the integration's address, account and rights")
    return found


def check_storage(settings: ObjectStorageSettings) -> Finding:
    """The S3 server and the bucket."""
    try:
        ObjectStorage(settings).get(_ABSENT)
    except UnknownObject:
        return Finding("object-storage", "ok", f"bucket {settings.bucket} at {settings.endpoint}")
    except StorageUnavailable as error:
        if "NoSuchBucket" in str(error):
            remedy = "it is made when the first large body comes; or make it by hand"
            return Finding("object-storage", "warning", f"no bucket {settings.bucket} yet", remedy)
        return Finding(
            "object-storage", "failed", f"{settings.endpoint}: {error}", "incidents up, or check S3_ENDPOINT"
        )
    return Finding("object-storage", "failed", "an object that cannot exist was found", "look at the S3 server")
