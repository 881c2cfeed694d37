"""The projector on real Kafka: restart, takeover, damage, newer schemas and a truncated log."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from projections.base import LogBeginsLater, Record, SequenceGap
from projections.connections import Connection
from projections.registry import projections
from projections.runner import PoisonedRecord, Projector
from streams.codec import cloudevents
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision
from tests.harness.stack import Connections
from tests.projections.histories import History, full, intent

pytestmark = pytest.mark.stack
PARTITIONS = 2

DEADLINE_S = 30


@pytest.fixture
def kafka(stack: Connections) -> KafkaSettings:
    """Topics of the test's own."""
    prefix = f"runner-{secrets.token_hex(4)}-"
    settings = KafkaSettings(bootstrap_servers=stack["KAFKA_BOOTSTRAP_SERVERS"], topic_prefix=prefix)
    provision(settings, partitions=PARTITIONS)
    return settings


def send(kafka: KafkaSettings, records: Sequence[Record], **headers: bytes) -> None:
    """Write records as the orchestrator does, into the partition that they name; headers may be replaced."""
    producer = Producer({**kafka.librdkafka(), "enable.idempotence": True})
    for record in records:
        value, found = cloudevents.encode(record.envelope, record.data)
        replaced = [(name, headers.get(name, old)) for name, old in found]
        topic, key = kafka.topic(record.topic), record.envelope.tenantid.encode()
        producer.produce(topic, value, key, partition=record.partition, headers=replaced)
    assert producer.flush(DEADLINE_S) == 0


def delete_before(kafka: KafkaSettings, topic: str, offset: int) -> None:
    """Let partition 0 of the log begin at the offset."""
    admin = AdminClient(kafka.librdkafka())
    for future in admin.delete_records([TopicPartition(kafka.topic(topic), 0, offset)]).values():
        future.result(timeout=DEADLINE_S)


class Running:
    """A projector in a thread, with what it ended with."""

    def __init__(self, kafka: KafkaSettings, database: DatabaseSettings) -> None:
        self.stop = threading.Event()
        self.projector = Projector(kafka, database, self.stop)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.projector.run()
        except BaseException as error:  # noqa: BLE001  handed to the test
            self.error = error

    def ended(self) -> BaseException | None:
        """What it ended with by itself."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self.error

    def finish(self) -> None:
        """Stop it in order."""
        self.stop.set()
        assert self.ended() is None


@pytest.fixture
def run(kafka: KafkaSettings, database: DatabaseSettings) -> Iterator[Callable[[], Running]]:
    """Starts projectors and stops those that are left."""
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(kafka, database))
        return started[-1]

    yield start
    for running in started:
        running.stop.set()
        running.ended()


def wait(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def entries(owner: Connection, tenant: str = "acme") -> list[int]:
    query = "SELECT tenantsequence FROM read.timeline_entries WHERE tenant_id = %s ORDER BY 1"
    return [number for (number,) in owner.execute(query, (tenant,))]


def test_records_become_rows_and_a_restart_goes_on(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    records, other = full(History()), full(History("globex", partition=1))
    intents = History(topic="outbox-intents")
    intents.add("a", intent("intent-9"))
    first = run()
    send(kafka, [*records[:10], *other, *intents.records])
    wait(lambda: len(entries(owner)) == 10 and len(entries(owner, "globex")) == len(other))
    wait(lambda: owner.execute("SELECT 1 FROM ops.outbox_events WHERE state = 'pending'").fetchone())
    assert set(first.projector.checks().values()) == {"ok"}
    first.finish()
    send(kafka, records[10:])
    run()
    wait(lambda: entries(owner) == list(range(1, len(records) + 1)))


def test_two_projectors_share_the_partitions(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    records, other = full(History()), full(History("globex", partition=1))
    one, two = run(), run()
    epochs = "SELECT count(*) FROM ops.projection_checkpoints WHERE topic = 'incident-events' AND epoch > 0"
    claims = PARTITIONS * sum(one.topic == "incident-events" for one in projections())
    wait(lambda: owner.execute(epochs).fetchone() == (claims,))
    for start in range(0, len(records), 5):
        send(kafka, [*records[start : start + 5], *other[start : start + 5]])
    wait(lambda: len(entries(owner)) == len(records) and len(entries(owner, "globex")) == len(other))
    one.finish()
    more = History()
    full(more)
    more.add("a", records[0].data)
    send(kafka, more.records[-1:])
    wait(lambda: len(entries(owner)) == len(more.records))
    two.finish()


def test_a_gap_in_the_record_stops_the_process(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    records = full(History())
    send(kafka, [*records[:3], *records[4:]])
    assert isinstance(run().ended(), SequenceGap)
    assert entries(owner) == []


def test_a_damaged_record_stops_the_process_after_what_is_before_it(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    records = full(History())
    send(kafka, records[:3])
    send(kafka, records[3:4], ce_dataschema=b"nonsense")
    error = run().ended()
    assert isinstance(error, PoisonedRecord)
    assert "incident-events[0]@3: unknown-schema" in str(error)
    assert entries(owner) == [1, 2, 3]


def test_a_newer_schema_pauses_its_partition_alone(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    records, other = full(History()), full(History("globex", partition=1))
    send(kafka, records[:3])
    newer = f"urn:incidents:schema:{records[3].envelope.type}:99#0".encode()
    send(kafka, records[3:4], ce_dataschema=newer)
    running = run()
    wait(lambda: "incident-events[0]@3" in running.projector.checks()["schemas"])
    send(kafka, [*records[4:], *other])
    wait(lambda: len(entries(owner, "globex")) == len(other))
    assert entries(owner) == [1, 2, 3]
    running.finish()


def test_a_log_that_begins_later_stops_the_process(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    send(kafka, full(History()))
    delete_before(kafka, "incident-events", 4)
    error = run().ended()
    assert isinstance(error, LogBeginsLater)
    assert "incident-events[0] begins at offset 4 and timeline_entries g1 goes on from 0" in str(error)
    assert "incidents rebuild" not in str(error), "timers cannot be rebuilt: this is a database that lost everything"
    assert entries(owner) == []


def test_intents_may_begin_where_their_log_does(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    history = History(topic="outbox-intents")
    for number in range(4):
        history.add("a", intent(f"intent-{number}"))
    send(kafka, history.records)
    delete_before(kafka, "outbox-intents", 2)
    run()
    ids = "SELECT intent_id FROM ops.outbox_events ORDER BY 1"
    wait(lambda: owner.execute(ids).fetchall() == [("intent-2",), ("intent-3",)])


def test_the_database_going_away_loses_nothing(
    kafka: KafkaSettings, run: Callable[[], Running], owner: Connection
) -> None:
    records = full(History())
    run()
    send(kafka, records[:5])
    wait(lambda: len(entries(owner)) == 5)
    owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'incidents-projector' AND datname = current_database()"
    )
    send(kafka, records[5:])
    wait(lambda: entries(owner) == list(range(1, len(records) + 1)))
