"""A decided record on real Kafka and an archiver over it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Producer
from pydantic import SecretStr

from connectors.kit.secrets import ConnectorSettings, SecretBox
from streams.agents.orchestrator import Orchestrator
from streams.archive.archiver import Archiver
from streams.archive.checkpoints import Signer, Verifier
from streams.archive.operations import Operations
from streams.archive.reading import Archive
from streams.archive.restoring import Restore, Restored
from streams.archive.settings import ArchiveSettings, SigningSettings
from streams.domain import commands
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.message import Data
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.partition import POSITION, POSITION_FORMAT
from streams.runtime.ports import Write
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.harness.kafka import own_topics
from tests.harness.postgres import created_database
from tests.harness.record import StoredRecord, read_topic, send, signals
from tests.harness.stack import Connections
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

KEY = base64.b64encode(b"k" * 32).decode()
SIGNING = SigningSettings(signing_key=SecretStr(KEY))
MakeArchiver = Callable[..., Archiver]
NOW = 1_800_000_000_000


@pytest.fixture
def kafka(kafka_settings: KafkaSettings) -> KafkaSettings:
    """Topics of this test alone."""
    return own_topics(kafka_settings)


@pytest.fixture
def storage(object_storage: ObjectStorageSettings) -> ObjectStorage:
    """The module's bucket; archives of two tests differ in their prefix."""
    return ObjectStorage(object_storage)


@pytest.fixture
def make_archiver(kafka: KafkaSettings, storage: ObjectStorage) -> MakeArchiver:
    """Archivers of this test's topics, each as if it were another process."""

    def make(*, settings: ArchiveSettings | None = None, into: ObjectStorage | None = None) -> Archiver:
        return archiver_of(kafka, into or storage, settings)

    return make


def archiver_of(kafka: KafkaSettings, storage: ObjectStorage, settings: ArchiveSettings | None = None) -> Archiver:
    """An archiver that signs with the key of all tests."""
    signing = Signer(SIGNING), Verifier(SIGNING)
    return Archiver(kafka, settings or ArchiveSettings(), storage, *signing, threading.Event())


@pytest.fixture
def archive(kafka: KafkaSettings, storage: ObjectStorage) -> Archive:
    """What those archivers write, to read."""
    return Archive(storage, ArchiveSettings().prefix(kafka.topic_prefix))


@pytest.fixture
def operations(archive: Archive) -> Operations:
    """Backups of operational tables in the same archive."""
    return Operations(archive.storage, archive.prefix, box())


def box() -> SecretBox:
    """The same key for all tests."""
    return SecretBox(ConnectorSettings(secret_key=SecretStr(KEY)))


def database_settings(url: str) -> DatabaseSettings:
    """Settings for a database of the harness."""
    return DatabaseSettings(url=SecretStr(url))


@pytest.fixture
def empty(stack: Connections, migrated_template: str) -> Iterator[DatabaseSettings]:
    """A database that was only migrated."""
    with created_database(stack["DATABASE_URL"], migrated_template) as url:
        yield database_settings(url)


@pytest.fixture
def target(kafka_settings: KafkaSettings, kafka: KafkaSettings) -> KafkaSettings:
    """Topics that were only created."""
    del kafka  # has its own
    return own_topics(kafka_settings)


def subscribe(kafka: KafkaSettings) -> None:
    """Every tenant's declared incidents are to be noted at a provider, so that there are intents."""
    actions = {"com.incidents.acknowledged.v1": "acknowledge"}
    data = commands.SetSubscription("s-1", "pagerduty", "i-1", actions, "user:ada")
    type_ = TYPE_OF[commands.SetSubscription]
    send(kafka, [(Envelope(f"sub-{n}", "/cli", type_, f"tenant-{n}"), data) for n in range(3)])


def restore(archive: Archive, operations: Operations, kafka: KafkaSettings, database: DatabaseSettings) -> Restored:
    """A restore into these."""
    return Restore(kafka, database, archive, operations).run(NOW)


def decide(kafka: KafkaSettings, tag: str, count: int, log: Path) -> None:
    """Send signals and have a worker decide all that is on the intake."""
    send(kafka, signals(count, tag))
    with process(["worker"], environment(kafka), log):
        wait_until(lambda: decided(kafka, tag) == count, f"{count} signals of {tag} decided", 60)


def decide_here(kafka: KafkaSettings, messages: Sequence[tuple[Envelope, Data]]) -> None:
    """Send messages to an empty intake and decide them as one batch a partition, without a worker process."""
    send(kafka, messages)
    intake: dict[int, list[StoredRecord]] = {}
    for record in read_topic(kafka, "incident-intake"):
        intake.setdefault(record.partition, []).append(replace(record, topic="incident-intake"))
    producer = Producer(kafka.librdkafka() | {"acks": "all"})
    for partition, records in intake.items():
        turn = Orchestrator(kafka, partition).turn(records[0].offset, records[-1].offset)
        for record in records:
            turn.take(record)
        writes = turn.finish()
        position = orjson.dumps([POSITION_FORMAT, records[-1].offset + 1])
        items = [*writes.state, (POSITION, position)]
        state = [Write(kafka.topic("orchestrator-state"), key, value) for key, value in items]
        for one in (*writes.outputs, *state):
            producer.produce(one.topic, one.value, one.key, partition, headers=list(one.headers))
    assert producer.flush(30) == 0


def decided(kafka: KafkaSettings, tag: str) -> int:
    """How many deliveries of a tag the record names."""
    from tests.harness.record import check_record

    return sum(1 for _, id_ in check_record(kafka).deliveries if id_.startswith(f"{tag}-"))


def contents(kafka: KafkaSettings, topic: str) -> dict[int, list[tuple[object, ...]]]:
    """Key, value, headers and time of each record of a topic, by partition."""
    found: dict[int, list[tuple[object, ...]]] = {}
    for record in read_topic(kafka, topic):
        content = (record.key, record.value, record.headers, record.timestamp)
        found.setdefault(record.partition, []).append(content)
    return found
