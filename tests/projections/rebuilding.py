"""A record in Kafka with a live generation in PostgreSQL, to be rebuilt."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Producer

from projections import rebuild
from projections.base import Record
from projections.connections import Connection
from projections.rebuild import Rebuild, Report
from projections.runner import Projector
from projections.sources import KafkaSource
from streams.codec import cloudevents
from streams.domain import events
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.harness.waiting import wait_until
from tests.projections.histories import History, alert, declared, full


class Quiet:
    """Progress that only remembers the phases."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.done = 0

    def phase(self, what: str, total: int = 0) -> None:
        del total
        self.phases.append(what)

    def at(self, done: int) -> None:
        self.done = done


def send(kafka: KafkaSettings, records: Sequence[Record]) -> None:
    """Write records as the orchestrator does, into the partition that they name."""
    producer = Producer({**kafka.librdkafka(), "enable.idempotence": True, "linger.ms": 5})
    for record in records:
        value, headers = cloudevents.encode(record.envelope, record.data)
        key = record.envelope.tenantid.encode()
        producer.produce(kafka.topic(record.topic), value, key, partition=record.partition, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


def many(tenant: str, partition: int, incidents: int) -> History:
    """A tenant whose history has everything in it, then many incidents with a few events each."""
    history = History(tenant, partition)
    full(history)
    for number in range(3, incidents + 3):
        name = f"{tenant}-{number}"
        history.add(name, declared(number))
        history.add(name, events.AlertsAttached((alert(f"{name}-a"), alert(f"{name}-b"))))
        history.add(name, events.Acknowledged("user:ada"))
        history.add(name, events.NoteAdded(f"note {number}", "user:ada"))
    return history


@contextmanager
def projecting(
    kafka: KafkaSettings, database: DatabaseSettings, kind: type[Projector] = Projector
) -> Iterator[Projector]:
    """The projector on a thread; what it ends with is raised."""
    stop = threading.Event()
    projector = kind(kafka, database, stop)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            projector.run()
        except BaseException as error:  # noqa: BLE001  raised below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield projector
        assert not failed, failed
    finally:
        stop.set()
        thread.join(30)
        assert not failed, failed  # also where the test failed for it


def wait_projected(owner: Connection, count: int) -> None:
    """Wait until readers see so many events."""

    def there() -> bool:
        return owner.execute("SELECT count(*) FROM read.timeline_entries").fetchone() == (count,)

    wait_until(there, f"{count} events projected")


def run(
    kafka: KafkaSettings, database: DatabaseSettings, *names: str, force: bool = False, keep: int = 1, jobs: int = 1
) -> Report:
    """One rebuild, as the command does it."""
    with rebuild.alone(database) as owner:
        source = KafkaSource(kafka)
        wanted = rebuild.plan(owner, source, names)
        return Rebuild(owner, source, database, Quiet(), jobs=jobs).run(wanted, keep=keep, force=force)
