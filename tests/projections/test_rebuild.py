"""Rebuild on real Kafka and PostgreSQL."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from projections import checkpoints, rebuild, swapping
from projections.base import LogBeginsLater, Record
from projections.connections import Connection, connect
from projections.generations import listed, mark
from projections.rebuild import AnotherRebuild, NoSuchGeneration, Rebuild, TooLittleSpace
from projections.registry import rebuildable
from projections.sources import KafkaSource, UnreadableRecord
from projections.swapping import SwapBlocked
from streams.codec import cloudevents
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision
from tests.harness.stack import Connections
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process
from tests.projections.rebuilding import Quiet, many, projecting, run, send, wait_projected

pytestmark = pytest.mark.stack

VIEWS = (
    "timeline_entries", "incidents", "incident_alerts", "alerts", "tickets", "ticket_conflicts", "attachments", "links",
)  # fmt: skip


@pytest.fixture
def kafka(stack: Connections) -> KafkaSettings:
    """Topics of the test's own."""
    prefix = f"rebuild-{secrets.token_hex(4)}-"
    settings = KafkaSettings(bootstrap_servers=stack["KAFKA_BOOTSTRAP_SERVERS"], topic_prefix=prefix)
    provision(settings, partitions=2)
    return settings


def test_a_rebuild_swaps_to_equal_rows_and_the_projector_goes_on(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection
) -> None:
    histories = [many("acme", 0, 30), many("other", 1, 20)]
    count = sum(len(one.records) for one in histories)
    with projecting(kafka, database):
        for one in histories:
            send(kafka, one.records)
        wait_projected(owner, count)
        report = run(kafka, database)
        assert report.swapped
        assert report.equal
        assert {(one.live, one.new) for one in report.compared} == {(1, 2)}
        assert set(checkpoints.active(owner).values()) == {2}
        later = many("later", 0, 10).records
        send(kafka, later)
        wait_projected(owner, count + len(later))


@pytest.fixture
def projected(kafka: KafkaSettings, database: DatabaseSettings, owner: Connection) -> list[Record]:
    """A record on two partitions that the projector has written and left."""
    records = [*many("acme", 0, 30).records, *many("other", 1, 20).records]
    with projecting(kafka, database):
        send(kafka, records)
        wait_projected(owner, len(records))
    return records


def shape(owner: Connection, table: str) -> object:
    """Columns, keys, indexes, policies and grants of a table, without its generation."""
    queries = (
        (
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attcollation FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
        ),
        (
            "SELECT pg_get_indexdef(indexrelid), indisprimary, indisunique FROM pg_index WHERE indrelid = %s::regclass"
            " ORDER BY 1"
        ),
        "SELECT contype::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY 2",
        (
            "SELECT polname, polcmd::text, polroles, pg_get_expr(polqual, polrelid),"
            " pg_get_expr(polwithcheck, polrelid) FROM pg_policy WHERE polrelid = %s::regclass"
        ),
        "SELECT relrowsecurity, relforcerowsecurity, relacl::text FROM pg_class WHERE oid = %s::regclass",
    )
    found = [[tuple(map(str, row)) for row in owner.execute(query, [table]).fetchall()] for query in queries]
    return [[tuple(re.sub(r"_g\d+", "_gN", text) for text in row) for row in part] for part in found]


def test_the_new_tables_are_like_the_old_ones(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    before = {table: shape(owner, f"read_data.{table}_g1") for table in VIEWS}
    assert run(kafka, database, keep=0).dropped == (
        "timeline_entries g1",
        "incidents g1",
        "alerts g1",
        "tickets g1",
        "attachments g1",
    )
    assert {table: shape(owner, f"read_data.{table}_g2") for table in VIEWS} == before
    with connect(database, "api", name="test") as api:
        assert api.execute("SELECT count(*) FROM read.incidents").fetchone() == (0,), "no tenant, no rows"
        api.execute("SELECT set_config('incidents.tenant', 'acme', true)")
        assert api.execute("SELECT count(DISTINCT tenant_id) FROM read.incidents").fetchone() == (1,)
    assert len(projected) == sum(owner.execute("SELECT count(*) FROM read.timeline_entries").fetchone() or ())


def test_rows_that_differ_are_reported_and_nothing_is_swapped(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    with connect(database, "projector", name="test", autocommit=True) as projector:
        projector.execute("UPDATE read_data.incidents_g1 SET title = 'edited' WHERE tenant_id = 'acme' AND number = 5")
        projector.execute("DELETE FROM read_data.timeline_entries_g1 WHERE tenant_id = 'other' AND tenantsequence = 9")
        projector.execute("UPDATE read_data.tickets_g1 SET state = 'linked' WHERE tenant_id = 'acme'")
        projector.execute("DELETE FROM read_data.ticket_conflicts_g1 WHERE tenant_id = 'other'")
        projector.execute("UPDATE read_data.attachments_g1 SET file_name = 'edited' WHERE attachment_id = 'acme-a-2'")
        projector.execute("DELETE FROM read_data.links_g1 WHERE link_id = 'other-a-1-l'")
        projector.execute("UPDATE read_data.alerts_g1 SET topic_offset = topic_offset + 7")  # no part of the digest
    report = run(kafka, database)
    assert not report.swapped
    assert not report.equal
    assert set(checkpoints.active(owner).values()) == {1}
    timeline, incidents, alerts, tickets, attachments = report.compared
    assert attachments.differences["attachments"].sample[0].columns == {"file_name": ("edited", "core")}
    assert attachments.differences["links"].added == 1
    assert tickets.differences["tickets"].sample[0].columns == {"state": ("linked", "gone")}
    assert tickets.differences["ticket_conflicts"].added == 1
    assert alerts.live_digest == alerts.new_digest
    assert not alerts.differences
    changed = incidents.differences["incidents"]
    assert (changed.missing, changed.added, changed.changed) == (0, 0, 1)
    assert changed.sample[0].columns == {"title": ("edited", "incident 5")}
    assert changed.sample[0].key[0] == "acme"
    missing = timeline.differences["timeline_entries"]
    assert (missing.missing, missing.added, missing.changed) == (0, 1, 0)
    assert missing.sample[0].key == ("other", 9)
    assert set(checkpoints.active(owner).values()) == {1}
    forced = run(kafka, database, force=True)
    assert forced.swapped
    with connect(database, "projector", name="test") as reader:
        title = reader.execute("SELECT title FROM read.incidents WHERE tenant_id = 'acme' AND number = 5").fetchone()
    assert title == ("incident 5",)
    assert {(one.live, one.new) for one in forced.compared} == {(1, 2)}
    assert len(projected)


def test_an_old_generation_can_be_shown_again(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    run(kafka, database, "incidents")
    assert checkpoints.active(owner) == {"timeline_entries": 1, "incidents": 2, "incident_alerts": 2, "alerts": 1} | {
        "tickets": 1,
        "ticket_conflicts": 1,
        "attachments": 1,
        "links": 1,
    }
    with projecting(kafka, database):
        more = many("later", 0, 5).records
        send(kafka, more)
        wait_projected(owner, len(projected) + len(more))
        with rebuild.alone(database) as alone:
            back = Rebuild(alone, KafkaSource(kafka), database, Quiet())
            with pytest.raises(NoSuchGeneration):
                back.roll_back("alerts")
            assert back.roll_back("incidents") == (2, 1)
        assert set(checkpoints.active(owner).values()) == {1}
        count = owner.execute("SELECT count(*) FROM read.incidents WHERE tenant_id = 'later'").fetchone()
        assert count == (7,), "the old generation has caught up before it is shown"
        again = run(kafka, database, "incidents")
    assert [(one.live, one.new) for one in again.compared] == [(1, 3)]
    assert again.equal
    there = [(one.number, one.state) for one in listed(owner) if one.projection == "incidents"]
    assert there == [(2, "retired"), (3, "active")]
    assert again.dropped == ("incidents g1",)


def test_what_cannot_work_is_said_before_anything_is_begun(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    source = KafkaSource(kafka)
    with rebuild.alone(database) as alone:
        with pytest.raises(AnotherRebuild), rebuild.alone(database):
            pass
        with pytest.raises(NoSuchGeneration, match="nonsense"):
            rebuild.plan(alone, source, ["nonsense"])
        little = rebuild.plan(alone, source, free=1_000)
        assert little.left == len(projected)
        with pytest.raises(TooLittleSpace, match="nothing was begun"):
            Rebuild(alone, source, database, Quiet()).run(little)
        delete_before(kafka, "incident-events", 3)
        with pytest.raises(LogBeginsLater, match="begins at offset 3"):
            rebuild.plan(alone, source)
    assert {one.number for one in listed(owner)} == {1}


def test_a_rebuild_that_is_killed_goes_on_where_it_was(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, tmp_path: Path
) -> None:
    records = many("acme", 0, 6_000).records
    with projecting(kafka, database):
        send(kafka, records)
        wait_projected(owner, len(records))
    env = environment(kafka, DATABASE_URL=database.url.get_secret_value())
    with process(["rebuild", "--yes", "--jobs", "1"], env, tmp_path / "killed.log") as child:

        def begun() -> bool:
            return 0 < position(owner) < len(records)

        wait_until(begun, "some of it is filled", every=0.005)
        family = [child.pid, *(one.pid for one in psutil.Process(child.pid).children(recursive=True))]
        child.kill()
        child.wait()
    wait_until(lambda: not any(map(alive, family)), "its processes end with it")
    stopped_at = position(owner)
    assert 0 < stopped_at < len(records)
    with rebuild.alone(database) as alone:
        wanted = rebuild.plan(alone, KafkaSource(kafka))
        assert wanted.left == len(records) - stopped_at
        assert all(one.resumed for one in wanted.models)
    report = run(kafka, database)
    assert report.swapped
    assert report.equal
    assert report.events == len(records) - stopped_at
    assert next(one.rows for one in report.compared) == len(records)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap that waits for locks for a second, not for a minute."""
    monkeypatch.setattr(swapping, "_PATIENCE_S", 1)


@pytest.mark.usefixtures("impatient")
def test_a_reader_that_holds_the_view_only_delays_the_swap(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    with connect(database, "api", name="reader") as reader:
        reader.execute("SET idle_in_transaction_session_timeout = 0")  # its lock is to outlast the swap's patience
        reader.execute("SELECT count(*) FROM read.incidents")
        with pytest.raises(SwapBlocked):
            run(kafka, database)
        assert set(checkpoints.active(owner).values()) == {1}
        with connect(database, "api", name="other") as other:
            other.execute("SET statement_timeout = '2s'")
            other.execute("SELECT count(*) FROM read.incidents")
    report = run(kafka, database)
    assert report.swapped
    assert report.events == 0
    assert len(projected)


@pytest.mark.usefixtures("impatient")
def test_a_vacuum_of_the_live_tables_does_not_delay_the_swap(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    assert len(projected)
    live = ", ".join(f"read_data.{name}_g1" for name in ("timeline_entries", "incidents", "alerts"))
    with connect(database, "owner", name="vacuum") as vacuum:
        vacuum.execute(f"LOCK TABLE {live} IN SHARE UPDATE EXCLUSIVE MODE")
        report = run(kafka, database)
    assert report.swapped
    there = {(one.number, one.state) for one in listed(owner)}
    assert there == {(1, "retired"), (2, "active")}


def test_a_run_that_ended_right_after_the_swap_leaves_nothing_to_be_gone_on_with(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection, projected: list[Record]
) -> None:
    assert len(projected)
    run(kafka, database)
    for generation in listed(owner):
        if generation.state == "active":
            mark(owner, rebuildable(generation.projection, generation.number), "built")
    report = run(kafka, database)
    assert {one.new for one in report.compared} == {3}
    assert {(one.number, one.state) for one in listed(owner)} == {(2, "retired"), (3, "active")}


def test_a_record_of_a_newer_schema_is_named(kafka: KafkaSettings) -> None:
    record = many("acme", 0, 1).records[0]
    value, headers = cloudevents.encode(record.envelope, record.data)
    newer = [(name, data.replace(b":1#", b":99#") if name == "ce_dataschema" else data) for name, data in headers]
    producer = Producer(kafka.librdkafka())
    producer.produce(kafka.topic("incident-events"), value, b"acme", partition=0, headers=headers)
    producer.produce(kafka.topic("incident-events"), value, b"acme", partition=0, headers=newer)
    assert producer.flush(30) == 0
    with (
        KafkaSource(kafka).open() as reading,
        pytest.raises(UnreadableRecord, match=r"incident-events\[0\]@1: Unknown"),
    ):
        list(reading.read({0: 0}, {0: 2}))


def position(owner: Connection) -> int:
    """How far generation 2 is filled."""
    found = owner.execute(
        "SELECT min(next_offset) FROM ops.projection_checkpoints WHERE generation = 2 AND partition = 0"
    ).fetchone()
    return (found[0] or 0) if found else 0


def alive(pid: int) -> bool:
    """Whether the process runs."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def delete_before(kafka: KafkaSettings, topic: str, offset: int) -> None:
    """Let partition 0 of the log begin at the offset."""
    admin = AdminClient(kafka.librdkafka())
    for future in admin.delete_records([TopicPartition(kafka.topic(topic), 0, offset)]).values():
        future.result(timeout=30)
