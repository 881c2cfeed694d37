"""After a restore the outbox knows every intent whose result is known anywhere, so that nothing is done again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import psycopg
import pytest
from confluent_kafka import Producer

from streams.archive.operations import Operations
from streams.archive.reading import Archive
from streams.archive.restoring import Restored
from streams.archive.settings import TOPICS
from streams.codec import cloudevents
from streams.domain import commands, events, outputs
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.message import Data
from streams.domain.signals import Signal
from streams.domain.ticket_commands import SetMapping
from streams.domain.ticket_events import SyncCompleted
from streams.domain.tickets import RecordTicket, TicketStatus
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.archive.conftest import MakeArchiver, restore, subscribe
from tests.domain.test_ticket_sync import mapped
from tests.harness.record import read_topic, send
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
INTAKE, EVENTS, INTENTS, _ = TOPICS
Rows = list[tuple[str, str, int]]
"""Intent, state and attempts."""
RestoredOutbox = Callable[[], tuple[Restored, Rows]]


@pytest.fixture
def restored_outbox(
    make_archiver: MakeArchiver,
    archive: Archive,
    operations: Operations,
    target: KafkaSettings,
    empty: DatabaseSettings,
) -> RestoredOutbox:
    """Archives everything and restores it into nothing; no backup knows any intent."""

    def restored() -> tuple[Restored, Rows]:
        make_archiver().round(final=True)
        done = restore(archive, operations, target, empty)
        with psycopg.connect(empty.url.get_secret_value()) as connection:
            return done, connection.execute("SELECT intent_id, state, attempts FROM ops.outbox_events").fetchall()

    return restored


def effect(intent: outputs.Intent) -> tuple[Envelope, commands.RecordEffect]:
    """What the dispatcher says when the provider has taken it."""
    names = (intent.incident_id, intent.intent_id, intent.connector, intent.integration_id, intent.action)
    envelope = Envelope(f"effect-{intent.intent_id}", "/dispatcher", TYPE_OF[commands.RecordEffect], "tenant-0")
    return envelope, commands.RecordEffect(*names, status="delivered")


def acknowledged(kafka: KafkaSettings) -> list[outputs.Intent]:
    """Three incidents that a provider knows are acknowledged; the intents to tell it so."""
    alerts: list[tuple[Envelope, Data]] = [
        (
            Envelope(f"pd-{n}", "/integrations/i-1", TYPE_OF[Signal], "tenant-0"),
            Signal(
                "Down",
                fingerprint=f"pd-{n}",
                service=f"s-{n}",
                error_type="down",
                connector="pagerduty",
                integration_id="i-1",
                external_id=f"P{n}",
            ),
        )
        for n in range(3)
    ]
    send(kafka, alerts)
    declared = TYPE_OF[events.Declared].encode()

    def incidents() -> list[str]:
        found = [dict(record.headers) for record in read_topic(kafka, EVENTS)]
        return [headers["ce_subject"].decode() for headers in found if headers["ce_type"] == declared]

    wait_until(lambda: len(incidents()) == 3, "three incidents", 60)
    type_ = TYPE_OF[commands.Acknowledge]
    acks: list[tuple[Envelope, Data]] = [
        (Envelope(f"ack-{one}", "/api", type_, "tenant-0"), commands.Acknowledge(one, "user:ada"))
        for one in incidents()
    ]
    send(kafka, acks)
    wait_until(lambda: sum(1 for _ in read_topic(kafka, INTENTS)) == 3, "three intents", 60)
    return [cloudevents.decode(record.headers, record.value)[1] for record in read_topic(kafka, INTENTS)]


def test_no_effect_is_sent_again_whose_result_is_known_anywhere(
    kafka: KafkaSettings, restored_outbox: RestoredOutbox, tmp_path: Path
) -> None:
    """One result is in the record, one only in the intake, one nowhere; no backup knows any of the three."""
    subscribe(kafka)
    with process(["worker"], environment(kafka), tmp_path / "worker.log"):
        in_record, in_intake, nowhere = acknowledged(kafka)
        send(kafka, [effect(in_record)])
        delivered = TYPE_OF[events.EffectDelivered].encode()
        wait_until(
            lambda: any(dict(record.headers)["ce_type"] == delivered for record in read_topic(kafka, EVENTS)),
            "the result is in the record",
            60,
        )
    send(kafka, [effect(in_intake)])
    done, rows = restored_outbox()
    assert (done.finished_intents, done.open_intents) == (2, 1)
    assert sorted(rows) == sorted(
        [
            (in_record.intent_id, "delivered", 1),
            (in_intake.intent_id, "delivered", 1),
            (nowhere.intent_id, "pending", 1),
        ]
    ), "the open one counts as attempted, so that it is looked for first"


def test_what_was_done_at_a_ticket_is_not_done_again(
    kafka: KafkaSettings, restored_outbox: RestoredOutbox, tmp_path: Path
) -> None:
    """Intents about tickets: one is done in the record, one in the intake, one is refused there, one has no result."""
    ends: dict[str, TicketStatus] = {"in record": "done", "in intake": "done", "refused": "failed"}
    with process(["worker"], environment(kafka), tmp_path / "worker.log"):
        planned = ticket_intents(kafka, [*ends, "nowhere"])
        send(kafka, [reported(planned["in record"], "done")])
        completed = TYPE_OF[SyncCompleted].encode()
        wait_until(
            lambda: any(dict(record.headers)["ce_type"] == completed for record in read_topic(kafka, EVENTS)),
            "the result is in the record",
            60,
        )
    send(kafka, [reported(planned["in intake"], "done"), reported(planned["refused"], "failed")])
    _, headers = cloudevents.encode(*reported(planned["nowhere"], "done"))
    producer = Producer(kafka.librdkafka() | {"partitioner": "murmur2_random"})
    producer.produce(kafka.topic(INTAKE), key=b"tenant-0", value=b"no report", headers=headers)
    assert producer.flush(30) == 0
    _, rows = restored_outbox()
    states = {intent_id: state for intent_id, state, _ in rows}
    assert {what: states[intent.intent_id] for what, intent in planned.items()} == {
        "in record": "delivered",
        "in intake": "delivered",
        "refused": "failed",
        "nowhere": "pending",
    }


def ticket_intents(kafka: KafkaSettings, titles: list[str]) -> dict[str, outputs.Intent]:
    """Incidents with these titles are declared, and each is to get a ticket; the intents by title."""
    mapping = SetMapping("int_1", "servicenow", 1, mapped(), "user:ada", ("SEV-3",))
    declared = [
        (Envelope(f"declare-{n}", "/api", TYPE_OF[commands.Declare], "tenant-0"), commands.Declare(title, "user:ada"))
        for n, title in enumerate(titles)
    ]
    send(kafka, [(Envelope("mapping", "/cli", TYPE_OF[SetMapping], "tenant-0"), mapping), *declared])

    def found() -> list[outputs.Intent]:
        return [cloudevents.decode(record.headers, record.value)[1] for record in read_topic(kafka, INTENTS)]

    wait_until(lambda: len(found()) == len(titles), "an intent for each", 60)
    return {orjson.loads(one.payload["changes"])["short_description"]: one for one in found()}


def reported(intent: outputs.Intent, status: TicketStatus) -> tuple[Envelope, RecordTicket]:
    """What the dispatcher says when the ticket system has answered."""
    names = (intent.incident_id, intent.intent_id, intent.connector, intent.integration_id, intent.action)
    envelope = Envelope(f"ticket-{intent.intent_id}", "/dispatcher", TYPE_OF[RecordTicket], "tenant-0")
    return envelope, RecordTicket(*names, status, external_id=f"sys-{intent.intent_id}")
