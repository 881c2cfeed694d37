"""Damage of each kind, planted in Kafka's own record: `verify` finds it, and names the first bad event and the kind.

Somebody who can write to Kafka has the record as it would be after the damage; the intake, the state, the rows and the
archive are those of the sound one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson
import pytest
from confluent_kafka import Producer

from projections.connections import connect
from streams.archive.checkpoints import Verifier
from streams.archive.reading import Archive
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.archive.verifying import Verification, Verified
from streams.codec import cloudevents
from streams.domain import chain
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import KEY, SIGNING, archiver_of, contents, database_settings, decide_here
from tests.harness.kafka import own_topics
from tests.harness.record import StoredRecord, read_topic, signals
from tests.harness.workers import ROOT, environment
from tests.projections.rebuilding import projecting, wait_projected

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
INTAKE, EVENTS, _, _ = TOPICS
TENANT = "tenant-1"
PLACE = 4
"""Of the damaged event among its tenant's, counted from 0."""

Records = Sequence[StoredRecord]


@dataclass(frozen=True, slots=True)
class Sound:
    """A decided record with its rows and its archive."""

    kafka: KafkaSettings
    database: DatabaseSettings
    archive: Archive


@pytest.fixture(scope="module")
def sound(kafka_settings: KafkaSettings, object_storage: ObjectStorageSettings, database_url: str) -> Sound:
    """The record that is damaged in copies of it."""
    kafka, database, storage = (
        own_topics(kafka_settings),
        database_settings(database_url),
        ObjectStorage(object_storage),
    )
    decide_here(kafka, signals(240, "a"))
    expected = sum(map(len, contents(kafka, EVENTS).values()))
    with connect(database, "owner", name="test", autocommit=True) as owner, projecting(kafka, database):
        wait_projected(owner, expected)
    storage = ObjectStorage(object_storage)
    archiver_of(kafka, storage).round(final=True)
    return Sound(kafka, database, Archive(storage, ArchiveSettings().prefix(kafka.topic_prefix)))


def verified(sound: Sound, kafka: KafkaSettings) -> Verified:
    """What `verify` finds in a Kafka, held against the sound copies."""
    return Verification(kafka, sound.database, sound.archive, Verifier(SIGNING)).run()


def forged(record: StoredRecord, value: bytes | None = None, **attributes: str) -> StoredRecord:
    """An event changed by somebody who knows how digests and hashes are made."""
    envelope, _, _ = cloudevents.decode_headers(record.headers)
    value = record.value if value is None else value
    digest = chain.digest(envelope.datasalt, value or b"")
    changed = chain.sealed(replace(envelope, datadigest=digest, hash="", **attributes))  # type: ignore[arg-type]
    new = {f"ce_{name}": str(getattr(changed, name)).encode() for name in ("datadigest", "hash", *attributes)}
    headers = tuple((name, new.get(name, old)) for name, old in record.headers)
    return replace(record, value=value, headers=headers)


def edited(records: Records) -> Records:
    """Its data is another: the digest tells."""
    bad = records[PLACE]
    value = (bad.value or b"").replace(b"latency", b"LATENCY")
    assert value != bad.value
    return [*records[:PLACE], replace(bad, value=value), *records[PLACE + 1 :]]


def edited_and_sealed(records: Records) -> Records:
    """Its data is another with a digest and a hash that fit: the next event of its incident tells."""
    value = (records[PLACE].value or b"").replace(b"latency", b"LATENCY")
    return [*records[:PLACE], forged(records[PLACE], value), *records[PLACE + 1 :]]


def deleted(records: Records) -> Records:
    """It is gone."""
    return [*records[:PLACE], *records[PLACE + 1 :]]


def swapped(records: Records) -> Records:
    """It and the next one stand in each other's place."""
    return [*records[:PLACE], records[PLACE + 1], records[PLACE], *records[PLACE + 2 :]]


def inserted(records: Records) -> Records:
    """The one before it stands there once more."""
    return [*records[:PLACE], records[PLACE - 1], *records[PLACE:]]


def truncated(records: Records) -> Records:
    """The last two are gone, and the chain of what is left holds."""
    return records[:-2]


def rewritten(records: Records) -> Records:
    """The last one is another, with a hash that fits, and nothing follows that would name the former."""
    return [*records[:-1], forged(records[-1], causationid="somebody-else")]


def copied(
    sound: Sound, plant: Callable[[Records], Records], topics: Sequence[str] = (EVENTS, "orchestrator-state")
) -> KafkaSettings:
    """Topics with the same state, and the same events but for what is planted among those of one tenant."""
    target = own_topics(sound.kafka)
    producer = Producer(target.librdkafka())
    for topic in topics:
        records = list(read_topic(sound.kafka, topic))
        if topic == EVENTS:
            mine = [one for one in records if one.key == TENANT.encode()]
            records = [*(one for one in records if one.key != TENANT.encode()), *plant(mine)]
        for one in records:
            producer.produce(
                target.topic(topic), one.value, one.key, one.partition, headers=list(one.headers),
                timestamp=one.timestamp,
            )  # fmt: skip
    assert producer.flush(30) == 0
    return target


def test_a_sound_record_is_whole(sound: Sound) -> None:
    found = verified(sound, sound.kafka)
    assert found.whole, (found.problems, found.damage)
    assert found.checkpoints
    assert found.events == sum(map(len, contents(sound.kafka, EVENTS).values()))
    unchanged = verified(sound, copied(sound, lambda records: records))
    assert not unchanged.damage, "a copy is damaged by what is planted in it alone"


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (edited, "edited"),
        (edited_and_sealed, "edited"),
        (deleted, "deleted"),
        (swapped, "swapped"),
        (inserted, "inserted"),
    ],
)
def test_damage_in_the_middle_is_named_with_its_event(
    sound: Sound, plant: Callable[[Records], Records], kind: str
) -> None:
    found = verified(sound, copied(sound, plant))
    (damage,) = found.damage
    assert (damage.kind, damage.tenant) == (kind, TENANT)
    assert damage.tenantsequence == (PLACE if kind == "inserted" else PLACE + 1)
    event = [one for one in read_topic(sound.kafka, EVENTS) if one.key == TENANT.encode()][damage.tenantsequence - 1]
    envelope, _, _ = cloudevents.decode_headers(event.headers)
    assert damage.event_id == ("" if kind == "deleted" else envelope.id)
    assert EVENTS in damage.where
    assert any("archive" in problem for problem in found.problems), "the archive says otherwise"


@pytest.mark.parametrize("plant", [truncated, rewritten])
@pytest.mark.parametrize("with_state", [True, False], ids=["with the state", "without the state"])
def test_a_changed_end_is_caught_by_what_was_signed(
    sound: Sound, plant: Callable[[Records], Records], *, with_state: bool
) -> None:
    """Whether the state still tells, or whoever did it took it away too."""
    topics = (EVENTS, "orchestrator-state") if with_state else (EVENTS,)
    events = [one for one in read_topic(sound.kafka, EVENTS) if one.key == TENANT.encode()]
    (damage,) = verified(sound, copied(sound, plant, topics)).damage
    assert (damage.kind, damage.tenant) == (plant.__name__, TENANT)
    assert damage.tenantsequence == len(events) - (1 if plant is truncated else 0)
    assert with_state or "signed checkpoint" in damage.detail


def test_the_command_names_it_and_fails(sound: Sound) -> None:
    env = environment(
        copied(sound, edited),
        DATABASE_URL=sound.database.url.get_secret_value(),
        INCIDENTS_SIGNING_KEY=KEY,
    )
    command = [sys.executable, "-m", "cli.main", "verify", "--json", "--jobs", "1", "--no-archive"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    (damage,) = orjson.loads(done.stdout)["damage"]
    assert (damage["kind"], damage["tenant"], damage["tenantsequence"]) == ("edited", TENANT, PLACE + 1)
