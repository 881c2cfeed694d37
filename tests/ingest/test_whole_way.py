"""Ingest with nothing in place of anything: real HTTP, PostgreSQL, Kafka and S3."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from psycopg.rows import dict_row
from pydantic import SecretStr
from starlette.applications import Starlette

from api.ingest import IngestDependencies, routes
from connectors.kit import integrations
from connectors.kit.contract import Secret
from connectors.kit.database import DatabaseUnavailable
from connectors.kit.directory import FRESH_S, IntegrationDirectory, IntegrationSealed
from connectors.kit.secrets import ConnectorSettings, SecretBox
from connectors.registry import CONNECTORS
from streams.codec import cloudevents
from streams.domain.envelope import Envelope
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.producer import (
    AcknowledgedProducer,
)
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from streams.runtime.topics import provision
from tests.connectors.examples import CONFIGS, SIGNED, signed_anew
from tests.harness.serving import Serving, serving
from tests.ingest.application import authenticate

pytestmark = [pytest.mark.stack]

Rows = psycopg.Connection[dict[str, Any]]


@pytest.fixture(scope="module")
def topic(kafka_settings: KafkaSettings) -> str:
    provision(kafka_settings)
    return kafka_settings.topic("incident-intake")


@pytest.fixture(scope="module")
def producer(kafka_settings: KafkaSettings) -> Iterator[AcknowledgedProducer]:
    found = AcknowledgedProducer(kafka_settings, "test-ingest")
    yield found
    found.close()


@pytest.fixture(scope="module")
def box() -> SecretBox:
    return SecretBox(ConnectorSettings(secret_key=SecretStr(base64.b64encode(os.urandom(32)).decode())))


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@dataclass(slots=True)
class Away:
    """A forwarder to PostgreSQL that can be taken away and brought back, so that only this test's clients notice."""

    url: str
    server: asyncio.Server | None = None
    port: int = 0
    tasks: set[asyncio.Task[None]] | None = None

    async def up(self) -> None:
        """Forward connections."""
        self.tasks = set()
        self.server = await asyncio.start_server(self._forward, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse new connections and cut those that are open."""
        assert self.server is not None
        assert self.tasks is not None
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def settings(self) -> DatabaseSettings:
        """The database through the forwarder."""
        parts = psycopg.conninfo.conninfo_to_dict(self.url)
        changed = psycopg.conninfo.make_conninfo(self.url, host="127.0.0.1", port=self.port)
        assert parts["dbname"]
        return DatabaseSettings(url=SecretStr(changed))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = psycopg.conninfo.conninfo_to_dict(self.url)
        assert self.tasks is not None
        with closing(writer):
            there, back = await asyncio.open_connection(str(parts["host"]), int(str(parts["port"])))
            with closing(back):
                pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
                self.tasks.update(pumps)
                await asyncio.wait(pumps)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def directory_for(
    settings: DatabaseSettings, box: SecretBox, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[IntegrationDirectory]:
    found = IntegrationDirectory(settings, box, clock=clock)
    await found.start()
    try:
        yield found
    finally:
        await found.close()


@asynccontextmanager
async def ingesting(
    directory: IntegrationDirectory, producer: AcknowledgedProducer, storage: ObjectStorageSettings, topic: str
) -> AsyncIterator[Serving]:
    needs = IngestDependencies(producer, ObjectStorage(storage), directory, authenticate, topic)
    async with serving(Starlette(routes=routes(needs))) as served:
        yield served


def recorded(settings: KafkaSettings, topic: str, tenant: str) -> list[tuple[Envelope, Any]]:
    """A tenant's messages on the topic, decoded."""
    consumer = Consumer({**settings.librdkafka(), "group.id": "none", "enable.auto.commit": False})
    partitions = [TopicPartition(topic, number, 0) for number in range(4)]
    consumer.assign(partitions)
    left = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions}
    found = []
    while any(left.values()):
        message = consumer.poll(10.0)
        assert message is not None
        assert message.error() is None
        left[message.partition()] -= 1
        if message.key() == tenant.encode():
            found.append(cloudevents.decode(message.headers(), message.value()))
    consumer.close()
    return found


async def post(served: Serving, integration_id: str, connector: str, secret: str, body: bytes = b"") -> httpx.Response:
    genuine, headers = SIGNED[connector](secret)
    if body:
        headers = signed_anew(connector, body, secret)
    async with httpx.AsyncClient(base_url=served.url) as client:
        url = f"/api/v1/webhooks/{connector}/{integration_id}"
        return await client.post(url, content=body or genuine, headers=headers)


async def until_status(
    status: int, served: Serving, integration_id: str, connector: str, secret: str, seconds: float = 10
) -> httpx.Response:
    """Send until the answer has a status, with a deadline."""
    async with asyncio.timeout(seconds):
        while (answer := await post(served, integration_id, connector, secret)).status_code != status:  # noqa: ASYNC110  the condition is an answer
            await asyncio.sleep(0.05)
    return answer


async def test_each_connector_reaches_kafka(
    database_url: str,
    rows: Rows,
    box: SecretBox,
    producer: AcknowledgedProducer,
    object_storage: ObjectStorageSettings,
    kafka_settings: KafkaSettings,
    topic: str,
) -> None:
    expected = []
    async with (
        directory_for(DatabaseSettings(url=SecretStr(database_url)), box) as directory,
        ingesting(directory, producer, object_storage, topic) as served,
    ):
        for name, connector in CONNECTORS.items():
            secret = "issued-by-the-provider"
            added = integrations.add(rows, box, connector, "acme", webhook_secret=secret, config=CONFIGS.get(name, {}))
            answer = await post(served, added.integration_id, name, added.secret.value)
            assert answer.status_code == 202, answer.text
            expected += answer.json()["ids"]
    assert sorted(envelope.id for envelope, _ in recorded(kafka_settings, topic, "acme")) == sorted(expected)


async def test_a_large_body_is_in_object_storage(
    database_url: str,
    rows: Rows,
    box: SecretBox,
    producer: AcknowledgedProducer,
    object_storage: ObjectStorageSettings,
    kafka_settings: KafkaSettings,
    topic: str,
) -> None:
    added = integrations.add(rows, box, CONNECTORS["pagerduty"], "large", webhook_secret="s" * 20)
    large = orjson.dumps({**json.loads(SIGNED["pagerduty"]("x")[0]), "padding": os.urandom(200_000).hex()})
    async with (
        directory_for(DatabaseSettings(url=SecretStr(database_url)), box) as directory,
        ingesting(directory, producer, object_storage, topic) as served,
    ):
        answer = await post(served, added.integration_id, "pagerduty", added.secret.value, large)
        assert answer.status_code == 202, answer.text
    [(envelope, data)] = recorded(kafka_settings, topic, "large")
    assert envelope.dataref == data.raw_ref
    assert ObjectStorage(object_storage).get(data.raw_ref) == large


async def test_rotation_and_disabling_take_effect_while_it_runs(
    database_url: str,
    rows: Rows,
    box: SecretBox,
    producer: AcknowledgedProducer,
    object_storage: ObjectStorageSettings,
    topic: str,
) -> None:
    added = integrations.add(rows, box, CONNECTORS["alertmanager"], "rotating")
    one, old = added.integration_id, added.secret.value
    async with (
        directory_for(DatabaseSettings(url=SecretStr(database_url)), box) as directory,
        ingesting(directory, producer, object_storage, topic) as served,
    ):
        assert (await post(served, one, "alertmanager", old)).status_code == 202
        new = integrations.rotate(rows, box, one).value
        await until_status(202, served, one, "alertmanager", new)
        assert (await post(served, one, "alertmanager", old)).status_code == 202
        integrations.rotate(rows, box, one, Secret("webhook", "third-secret"), overlap_s=0)
        await until_status(401, served, one, "alertmanager", old)
        assert (await post(served, one, "alertmanager", "third-secret")).status_code == 202
        integrations.disable(rows, one)
        await until_status(404, served, one, "alertmanager", "third-secret")


async def test_known_integrations_are_served_while_the_database_is_away(
    database_url: str,
    rows: Rows,
    box: SecretBox,
    producer: AcknowledgedProducer,
    object_storage: ObjectStorageSettings,
    topic: str,
) -> None:
    added = integrations.add(rows, box, CONNECTORS["alertmanager"], "away")
    way = Away(database_url)
    await way.up()
    now = 0.0
    async with (
        directory_for(way.settings(), box, lambda: now) as directory,
        ingesting(directory, producer, object_storage, topic) as served,
    ):
        assert (await post(served, added.integration_id, "alertmanager", added.secret.value)).status_code == 202
        await way.down()
        for step in (1.0, 10 * FRESH_S, 100 * FRESH_S):  # fresh, due, and due again
            now += step
            assert (await post(served, added.integration_id, "alertmanager", added.secret.value)).status_code == 202
        directory.forget()
        assert (await post(served, added.integration_id, "alertmanager", added.secret.value)).status_code == 202
        unknown = await post(served, "int_never_seen", "alertmanager", added.secret.value)
        assert (unknown.status_code, "retry-after" in unknown.headers) == (503, True)
        await way.up()
        await until_status(404, served, "int_never_seen", "alertmanager", added.secret.value)
    await way.down()


async def test_a_database_that_was_never_there(box: SecretBox) -> None:
    nowhere = DatabaseSettings(url=SecretStr("postgresql://incidents@127.0.0.1:9/incidents"))
    async with directory_for(nowhere, box) as directory:
        assert await directory.resolve("no such id!") is None
        with pytest.raises(DatabaseUnavailable):
            await directory.resolve("int_1")


async def test_another_key_is_said_and_not_a_crash(database_url: str, rows: Rows, box: SecretBox) -> None:
    added = integrations.add(rows, box, CONNECTORS["alertmanager"], "sealed")
    other = SecretBox(ConnectorSettings(secret_key=SecretStr(base64.b64encode(os.urandom(32)).decode())))
    async with directory_for(DatabaseSettings(url=SecretStr(database_url)), other) as directory:
        with pytest.raises(IntegrationSealed, match="INCIDENTS_SECRET_KEY"):
            await directory.resolve(added.integration_id)


def test_integrations_are_listed_without_secrets(rows: Rows, box: SecretBox) -> None:
    added = integrations.add(rows, box, CONNECTORS["alertmanager"], "listed", name="prod")
    [found] = integrations.list_all(rows, "listed")
    assert (found.integration_id, found.name, found.secrets) == (added.integration_id, "prod", 1)
    assert added.secret.value not in repr(found)
    stored = rows.execute("SELECT ciphertext FROM ops.integration_secrets").fetchall()
    assert not [row for row in stored if added.secret.value.encode() in bytes(row["ciphertext"])]


def test_integrations_that_are_refused(rows: Rows, box: SecretBox) -> None:
    for connector, tenant, more, why in (
        ("alertmanager", "", {}, "tenant"),
        ("pagerduty", "acme", {}, "issues the webhook secret"),
        ("alertmanager", "acme", {"config": {"x": 1}}, "unknown settings"),
        ("pagerduty", "acme", {"webhook_secret": "a\nb"}, "printable"),
    ):
        with pytest.raises(integrations.IntegrationRefused, match=why):
            integrations.add(rows, box, CONNECTORS[connector], tenant, **more)
    for refused in (lambda: integrations.disable(rows, "int_x"), lambda: integrations.rotate(rows, box, "int_x")):
        with pytest.raises(integrations.IntegrationRefused, match="no active integration"):
            refused()
