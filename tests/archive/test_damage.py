"""Damage planted in the state and in read models: `verify` names it, and what is wrong."""

from __future__ import annotations

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
from streams.archive.deciding import Deciding
from streams.archive.settings import TOPICS
from streams.archive.snapshots import read_state
from streams.archive.verifying import Verification
from streams.domain.incident import Incident
from streams.runtime.partition import POSITION
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.archive.conftest import contents, database_settings, decide_here
from tests.harness.record import signals
from tests.projections.rebuilding import Quiet, projecting, wait_projected

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
EVENTS = TOPICS[1]
TENANT = "tenant-1"


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
        for name in ("timeline_entries", "incidents", "incident_alerts", "alerts", "tickets", "ticket_conflicts"):
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
