"""Damage of each kind, planted in each copy of the record: `verify` names the first bad event and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson
import psycopg
import pytest
from confluent_kafka import Producer

from projections import rebuild
from projections.connections import connect
from projections.generations import listed
from projections.rebuild import AnotherRebuild, Rebuild
from projections.sources import KafkaSource
from streams.agents import state_codec
from streams.archive.checkpoints import Verifier
from streams.archive.deciding import Deciding
from streams.archive.reading import Archive
from streams.archive.settings import TOPICS
from streams.archive.snapshots import read_state
from streams.archive.verifying import Verification, Verified
from streams.codec import cloudevents
from streams.domain import chain
from streams.domain.checking import Damage
from streams.domain.incident import Incident
from streams.runtime.partition import POSITION
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.archive.conftest import SIGNING, MakeArchiver, contents, database_settings, decide_here
from tests.harness.kafka import own_topics
from tests.harness.record import StoredRecord, read_topic, signals
from tests.projections.rebuilding import Quiet, projecting, wait_projected

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
INTAKE, EVENTS, _, _ = TOPICS
TENANT = "tenant-1"
Plant = Callable[[list[StoredRecord]], Sequence[StoredRecord]]


@pytest.fixture
def database(database_url: str) -> DatabaseSettings:
    """Of this module."""
    return database_settings(database_url)


def whole(kafka: KafkaSettings, database: DatabaseSettings) -> None:
    """A decided record with its rows."""
    decide_here(kafka, signals(240, "a"))
    expected = sum(map(len, contents(kafka, EVENTS).values()))
    with connect(database, "owner", name="test", autocommit=True) as owner, projecting(kafka, database):
        wait_projected(owner, expected)


def copied(source: KafkaSettings, target: KafkaSettings, plant: Plant) -> None:
    """The events of a record as somebody who can write to Kafka would have them; state and intake are the same."""
    producer = Producer(target.librdkafka())
    for topic in (INTAKE, EVENTS, "orchestrator-state"):
        records = list(read_topic(source, topic))
        mine = [one for one in records if one.key == TENANT.encode()]
        kept = [*(one for one in records if one not in mine), *plant(mine)] if topic == EVENTS else records
        for one in kept:
            value, headers = one.value, list(one.headers)
            name = target.topic(topic)
            producer.produce(name, value, one.key, one.partition, headers=headers, timestamp=one.timestamp)
    assert producer.flush(30) == 0


def edited(records: list[StoredRecord]) -> Sequence[StoredRecord]:
    """Data of the fifth event is another, with a digest and a hash that fit."""
    envelope, _, _ = cloudevents.decode_headers(records[4].headers)
    value = (records[4].value or b"").replace(b"latency", b"LATENCY")
    assert value != records[4].value
    forged = replace(envelope, datadigest=chain.digest(envelope.datasalt, value))
    forged = chain.sealed(forged)
    new = {"ce_datadigest": forged.datadigest.encode(), "ce_hash": forged.hash.encode()}
    headers = tuple((name, new.get(name, old)) for name, old in records[4].headers)
    return [*records[:4], replace(records[4], value=value, headers=headers), *records[5:]]


def deleted(records: list[StoredRecord]) -> Sequence[StoredRecord]:
    return [*records[:4], *records[5:]]


def swapped(records: list[StoredRecord]) -> Sequence[StoredRecord]:
    return [*records[:4], records[5], records[4], *records[6:]]


def truncated(records: list[StoredRecord]) -> Sequence[StoredRecord]:
    return records[:-2]


def rewritten(records: list[StoredRecord]) -> Sequence[StoredRecord]:
    """The last event is another, and nothing follows that would name its hash."""
    envelope, _, _ = cloudevents.decode_headers(records[-1].headers)
    forged = chain.sealed(replace(envelope, causationid="somebody-else", hash=""))
    new = {"ce_causationid": b"somebody-else", "ce_hash": forged.hash.encode()}
    headers = tuple((name, new.get(name, old)) for name, old in records[-1].headers)
    return [*records[:-1], replace(records[-1], headers=headers)]


def test_each_kind_of_damage_of_the_log_is_named(
    kafka: KafkaSettings,
    kafka_settings: KafkaSettings,
    database: DatabaseSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
) -> None:
    whole(kafka, database)
    make_archiver().round(final=True)
    sound = verified(kafka, database, archive)
    assert sound.whole, (sound.problems, sound.damage)
    assert parts(verified(kafka, database, archive, jobs=2)) == parts(sound)
    first = {"edited": 5, "deleted": 5, "swapped": 5, "truncated": 0, "rewritten": 0}
    for plant in (edited, deleted, swapped, truncated, rewritten):
        target = own_topics(kafka_settings)
        copied(kafka, target, plant)
        found = verified(target, database, archive)
        damage = [one for one in found.damage if one.tenant == TENANT]
        assert [one.kind for one in damage] == [plant.__name__], damage
        assert_first(damage[0], first[plant.__name__])
        assert [one for one in found.damage if one.tenant != TENANT] == []
        assert any("archive" in problem for problem in found.problems), "the archive says otherwise"
        if plant is not swapped:  # each row is that of its event, whatever their order in the log
            assert any("PostgreSQL" in problem for problem in found.problems), "the rows say otherwise"


def assert_first(damage: Damage, tenantsequence: int) -> None:
    """The first bad event is the one that was planted."""
    assert not tenantsequence or damage.tenantsequence == tenantsequence
    assert damage.where


def parts(found: Verified) -> tuple[object, ...]:
    return found.events, found.tenants, found.checkpoints, found.erased, found.problems, found.damage


def verified(kafka: KafkaSettings, database: DatabaseSettings, archive: Archive, jobs: int = 1) -> Verified:
    return Verification(kafka, database, archive, Verifier(SIGNING)).run(jobs=jobs)


def test_damage_of_the_state_is_named(kafka: KafkaSettings, database: DatabaseSettings) -> None:
    decide_here(kafka, signals(60, "a"))
    sound = Deciding(kafka).run()
    assert sound.whole
    assert sound.states == 3, "of the partitions that hold tenants"
    number = partition_of(TENANT.encode(), 4)
    items, _ = read_state(kafka, number)
    key = next(k for k in items if k != POSITION and state_codec.split_key(k)[:2] == (TENANT, "incident"))
    incident: Incident = state_codec.decode("incident", items[key])
    write(kafka, number, key, state_codec.encode("incident", incident._replace(assignee="nobody")))
    assert [one for one in Deciding(kafka).run().state_items if "was edited" in one], "an edit that no hash covers"
    write(kafka, number, key, state_codec.encode("incident", incident._replace(sequence=incident.sequence + 1)))
    (damage,) = Verification(kafka, database, None, None).partition(number).damage
    assert (damage.kind, damage.tenant, damage.incident_id) == ("differs", TENANT, incident.id)
    write(kafka, number, key, None)
    assert [one for one in Deciding(kafka).run().state_items if "is missing" in one]


def write(kafka: KafkaSettings, partition: int, key: bytes, value: bytes | None) -> None:
    """Write an item of the state, as nobody but its worker should."""
    producer = Producer(kafka.librdkafka())
    producer.produce(kafka.topic("orchestrator-state"), value, key, partition)
    assert producer.flush(30) == 0


def test_damage_of_a_read_model_shows_in_its_digest(kafka: KafkaSettings, database: DatabaseSettings) -> None:
    with psycopg.connect(database.url.get_secret_value(), autocommit=True) as rows:
        rows.execute("DELETE FROM ops.projection_checkpoints")
        for name in ("timeline_entries", "incidents", "incident_alerts", "alerts"):
            rows.execute(f"TRUNCATE read_data.{name}_g1".encode())
        whole(kafka, database)
        with rebuild.alone(database) as owner:
            run = Rebuild(owner, source := KafkaSource(kafka), database, Quiet(), jobs=1)
            assert run.compare(rebuild.plan(owner, source)).equal
            rows.execute("UPDATE read_data.incidents_g1 SET status = 'closed' WHERE number = 1")
            rows.execute("DELETE FROM read_data.alerts_g1 WHERE signal_id = 'a-7'")
            report = run.compare(rebuild.plan(owner, source))
            found = {view: rows for one in report.compared for view, rows in one.differences.items()}
            assert set(found) == {"incidents", "alerts"}
            assert (found["alerts"].added, found["incidents"].missing) == (1, 0)
            assert {one.state for one in listed(owner)} == {"active"}, "nothing is left of the comparison"
            begun = rebuild.plan(owner, source)
            run.run(begun, swapping=False)
            with pytest.raises(AnotherRebuild, match="begun"):
                run.compare(rebuild.plan(owner, source))


def test_an_item_that_no_decision_made_is_named(kafka: KafkaSettings) -> None:
    """A record in the state that no decision made is found whatever its kind."""
    decide_here(kafka, signals(30, "a"))
    number = partition_of(TENANT.encode(), 4)
    write(kafka, number, state_codec.item_key(TENANT, "alert", "forged"), orjson.dumps([1, ["x", False, 0]]))
    assert [one for one in Deciding(kafka).run().state_items if "should not be there" in one]
