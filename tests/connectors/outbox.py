"""An outbox for tests of the dispatcher: intents put in as the projector does, and their results read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition

from connectors.kit.secrets import SecretBox
from infra.fakes.pagerduty.state import FakeAccount
from streams.codec import cloudevents
from streams.domain.envelope import derive_id
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.harness.serving import Serving


@dataclass(slots=True)
class Bench:
    """What a test works with."""

    database: DatabaseSettings
    kafka: KafkaSettings
    box: SecretBox
    rows: psycopg.Connection[dict[str, Any]]
    account: FakeAccount
    fake: Serving
    integration_id: str
    tenant: str
    offset: int = 0

    def intend(self, action: str, incident: str = "inc-1", *, late: bool = False, **more: Any) -> str:
        """Insert an intent as the projector does; returns its id."""
        self.offset += 1
        intent_id = derive_id(self.tenant, str(self.offset))
        row = {
            "intent_id": intent_id,
            "tenant_id": self.tenant,
            "incident_id": incident,
            "connector": "pagerduty",
            "integration_id": self.integration_id,
            "action": action,
            "external_id": f"P-{incident}",
            "idempotency_key": intent_id,
            "payload": '{"text": "rolled back"}',
            "event_id": "e",
            "topic_partition": 0,
            "topic_offset": self.offset,
            **more,
        }
        names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        limit = "now() - interval '1 minute'" if late else "NULL"
        self.rows.execute(
            f"INSERT INTO ops.outbox_events ({names}, created_at, next_attempt_at, not_after)"  # noqa: S608  own names
            f" VALUES ({values}, now(), now(), {limit})",
            row,
        )
        self.rows.execute("NOTIFY incidents_outbox")
        return intent_id

    def row(self, intent_id: str) -> dict[str, Any]:
        """The outbox row."""
        found = self.rows.execute("SELECT * FROM ops.outbox_events WHERE intent_id = %s", (intent_id,)).fetchone()
        assert found is not None
        return found

    async def state(self, intent_id: str, wanted: str) -> dict[str, Any]:
        """The row once it is in a state."""
        await until(lambda: self.row(intent_id)["state"] == wanted)
        return self.row(intent_id)

    def effects(self) -> list[tuple[str, Any]]:
        """The results of this tenant on the intake: command id and command (``RecordEffect``, ``RecordTicket``)."""
        consumer = Consumer({**self.kafka.librdkafka(), "group.id": "none", "enable.auto.commit": False})
        topic, found = self.kafka.topic("incident-intake"), []
        partitions = [TopicPartition(topic, number, 0) for number in range(4)]
        consumer.assign(partitions)
        left = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions}
        while any(left.values()):
            message = consumer.poll(10.0)
            assert message is not None
            assert message.error() is None
            left[message.partition()] -= 1
            envelope, data = cloudevents.decode(message.headers(), message.value())
            if envelope.tenantid == self.tenant:
                found.append((envelope.id, data))
        consumer.close()
        return found


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  the condition is a row of a database
            await asyncio.sleep(0.02)
