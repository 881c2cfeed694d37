"""The poller against running fakes, real PostgreSQL and real Kafka."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from connectors.kit import integrations, polls, reading
from connectors.kit.contract import Delivery
from connectors.kit.directory import IntegrationDirectory
from connectors.kit.http import ProviderHttp
from connectors.kit.poller import Poller, PollerSettings
from connectors.kit.secrets import ConnectorSettings, SecretBox
from connectors.kit.tickets import Cursor
from connectors.registry import CONNECTORS
from connectors.servicenow.inbound import ServiceNowReceives
from infra.fakes.jira.access import Access
from infra.fakes.jira.app import FakeJira
from infra.fakes.servicenow import webhook
from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.servicenow.table import Change
from infra.fakes.store import Store
from infra.torture.log import read_topic
from streams.codec import cloudevents
from streams.domain.signals import ProviderIngested
from streams.domain.tickets import TicketObserved
from streams.runtime.producer import AcknowledgedProducer, ProducerRecord
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision
from tests.connectors.examples import integration
from tests.connectors.outbox import until
from tests.harness.serving import Serving, serving

pytestmark = [pytest.mark.stack]

TOKEN = "the-api-token"
FAST = PollerSettings(interval_s=0.3, page_size=2, lease_s=2.0, stop_s=2.0)


class Stalled(AcknowledgedProducer):
    """A producer whose process dies before the acknowledgement: the call never returns."""

    reached: asyncio.Event

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        """Wait for ever."""
        del records
        self.reached.set()
        await asyncio.Event().wait()


@dataclass(slots=True)
class Bench:
    """What a test works with: one tenant with an integration of each ticket system."""

    database: DatabaseSettings
    kafka: KafkaSettings
    box: SecretBox
    rows: psycopg.Connection[dict[str, Any]]
    servicenow: FakeServiceNow
    jira: FakeJira
    served: dict[str, Serving]
    ids: dict[str, str]
    tenant: str

    def poll(self, connector: str = "servicenow") -> dict[str, Any]:
        """The row of an integration's polls, with its cursor."""
        found = self.rows.execute(
            "SELECT p.*, c.updated_at, c.external_id, c.began FROM ops.polls p"
            " LEFT JOIN ops.poll_cursors c USING (integration_id) WHERE integration_id = %s",
            (self.ids[connector],),
        ).fetchone()
        return found or {}

    def messages(self) -> list[tuple[str, Any]]:
        """What came in for this tenant: id and data."""
        found = []
        for record in read_topic(self.kafka, "incident-intake"):
            envelope, data = cloudevents.decode(record.headers, record.value)
            if envelope.tenantid == self.tenant:
                found.append((envelope.id, data))
        return found

    def seen(self, connector: str = "servicenow") -> list[TicketObserved]:
        """The tickets among them."""
        found = [data for _, data in self.messages() if isinstance(data, TicketObserved)]
        return [one for one in found if one.connector == connector]

    def marker(self, name: str, connector: str = "servicenow") -> str:
        """A marker as the incident's ticket would have it."""
        return f"inc-{name}-{self.ids[connector]}"

    def ticket(self, name: str) -> str:
        """An incident of ServiceNow with a marker; its id."""
        values = {"short_description": name, "correlation_id": self.marker(name)}
        return self.servicenow.table.create(values, "incidents")["sys_id"]


@pytest.fixture(scope="module")
def topics(kafka_settings: KafkaSettings) -> KafkaSettings:
    provision(kafka_settings)
    return kafka_settings


@pytest.fixture
def rows(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def bench(
    database_url: str, topics: KafkaSettings, rows: psycopg.Connection[dict[str, Any]]
) -> AsyncIterator[Bench]:
    rows.execute("UPDATE ops.integrations SET disabled_at = now() WHERE disabled_at IS NULL")  # of the test before
    box = SecretBox(ConnectorSettings(secret_key=SecretStr(base64.b64encode(os.urandom(32)).decode())))
    servicenow = FakeServiceNow(Store(), "incidents", TOKEN)
    jira = FakeJira(Store(), Access("me@x", TOKEN, time.time), lag_s=0.2)
    configs = {"servicenow": {"username": "incidents"}, "jira": {"email": "me@x", "project": "OPS"}}
    tenant, ids, served = f"tenant-{secrets.token_hex(4)}", {}, {}
    async with AsyncExitStack() as stack:
        for name, fake in (("servicenow", servicenow), ("jira", jira)):
            served[name] = await stack.enter_async_context(serving(fake.app()))
            config = {"base_url": served[name].url, **configs[name]}
            added = integrations.add(rows, box, CONNECTORS[name], tenant, config=config, api_token=TOKEN)
            ids[name] = added.integration_id
        database = DatabaseSettings(url=SecretStr(database_url))
        yield Bench(database, topics, box, rows, servicenow, jira, served, ids, tenant)


@asynccontextmanager
async def polling(
    bench: Bench, settings: PollerSettings = FAST, kind: type[AcknowledgedProducer] = AcknowledgedProducer
) -> AsyncIterator[tuple[Poller, asyncio.Task[None], AcknowledgedProducer]]:
    """A poller that runs for the block."""
    producer = kind(bench.kafka, "test-poller")
    if isinstance(producer, Stalled):
        producer.reached = asyncio.Event()
    directory = IntegrationDirectory(bench.database, bench.box, role="projector")
    http = ProviderHttp(allow_loopback=True, timeout_s=1.0)
    topic = bench.kafka.topic("incident-intake")
    poller = Poller(settings, bench.database, producer, directory, http, CONNECTORS, topic)
    await directory.start()
    task = asyncio.create_task(poller.run())
    try:
        yield poller, task, producer
    finally:
        poller.stop()
        await asyncio.wait([task])
        await directory.close()
        await http.close()
        producer.close(1.0)
    if not task.cancelled():
        task.result()


async def rounds(bench: Bench, count: int, connector: str = "servicenow") -> None:
    """Wait until an integration was read so many times more."""
    for _ in range(count):
        before = bench.poll(connector).get("polled_at")
        await until(lambda before=before: bench.poll(connector).get("polled_at") not in {before, None})  # type: ignore[misc]


async def test_a_lost_webhook_is_only_a_delay(bench: Bench) -> None:
    async with polling(bench):
        await rounds(bench, 1)
        sys_id = bench.ticket("a")
        bench.servicenow.table.update(sys_id, {"urgency": "1", "work_notes": "looking"}, "beth.anglin")
        issue = bench.jira.issues.create(
            {
                "fields": {
                    "project": {"key": "OPS"},
                    "issuetype": {"name": "Incident"},
                    "summary": "b",
                    "labels": [bench.marker("b", "jira"), "incidents-sync"],
                }
            },
            "5b10a2844c20165700ede21g",
        )
        await until(lambda: len(bench.seen()) > 0 and len(bench.seen("jira")) > 0)
        await rounds(bench, 3)
    [theirs] = bench.seen()[-1:]
    assert (theirs.external_id, theirs.fields["urgency"], theirs.origin) == (sys_id, "1", "poll")
    assert theirs.marker == bench.marker("a")
    [seen] = bench.seen("jira")
    assert (seen.external_id, seen.marker) == (issue["id"], bench.marker("b", "jira"))
    [note] = [data for _, data in bench.messages() if isinstance(data, ProviderIngested)]
    assert (note.action, note.external_id, note.text) == ("note", sys_id, "looking")
    assert len({id_ for id_, _ in bench.messages()}) == len(bench.messages())  # the overlap is not sent again


async def test_a_webhook_and_a_poll_of_the_same_state_are_one_delivery(bench: Bench) -> None:
    sys_id = bench.ticket("a")
    async with polling(bench):
        await until(lambda: len(bench.seen()) == 1)
    record = bench.servicenow.table.get(sys_id)
    link = integration("servicenow", {"base_url": bench.served["servicenow"].url, "username": "incidents"})
    link = type(link)(bench.ids["servicenow"], bench.tenant, "servicenow", config=link.config)
    told = ServiceNowReceives().parse(link, Delivery(b"{}", {}), webhook.body(Change("update", record, (), ())))
    polled = [id_ for id_, data in bench.messages() if isinstance(data, TicketObserved)]
    assert [envelope.id for envelope, _ in told] == polled


async def test_what_changed_while_no_poller_ran_is_read_by_pages(bench: Bench) -> None:
    async with polling(bench):
        await rounds(bench, 1)
    ids = [bench.ticket(f"t{number}") for number in range(7)]
    async with polling(bench):
        await until(lambda: len(bench.seen()) == 7)
        await rounds(bench, 1)
    assert sorted(one.external_id for one in bench.seen()) == sorted(ids)
    row = bench.poll()
    assert (row["began"], row["leased_by"], row["last_error"]) == (0, None, "")
    assert row["updated_at"] == max(one.updated_at for one in bench.seen())


async def test_a_poller_that_dies_before_the_acknowledgement_leaves_it_to_the_next(bench: Bench) -> None:
    bench.ticket("a")
    async with polling(bench, kind=Stalled) as (_, task, producer):
        assert isinstance(producer, Stalled)
        await asyncio.wait_for(producer.reached.wait(), 10)
        task.cancel()
        await asyncio.wait([task])
    assert bench.poll()["updated_at"] is None
    assert bench.poll()["leased_by"] is not None
    async with polling(bench):
        await until(lambda: len(bench.seen()) == 1)


async def test_two_pollers_share_the_integrations(bench: Bench) -> None:
    slow = PollerSettings(interval_s=3_600.0, lease_s=5.0)
    async with polling(bench, slow), polling(bench, slow):
        await until(lambda: all(bench.poll(name).get("polled_at") for name in bench.ids))
        await asyncio.sleep(0.5)
    assert bench.servicenow.effects()["calls"]["query"] == 1
    assert bench.jira.effects()["calls"]["search"] == 1


async def test_a_lease_that_was_lost_moves_no_cursor(bench: Bench) -> None:
    async with await psycopg.AsyncConnection.connect(
        bench.database.url.get_secret_value(), autocommit=True, row_factory=dict_row
    ) as connection:
        await polls.add_new(connection, ["servicenow"])
        await polls.add_new(connection, ["servicenow"])  # once is enough
        [mine] = await polls.lease(connection, "one", 5, 0.0)
        [taken] = await polls.lease(connection, "two", 5, 60.0)
        assert mine.integration_id == taken.integration_id == bench.ids["servicenow"]
        assert not await polls.save(connection, "one", mine, Cursor(5, "x"), 60.0)
        assert await polls.save(connection, "two", taken, Cursor(7, "y", 3), 60.0)
        await polls.finish(connection, "one", mine.integration_id, 0.0)
        assert await polls.lease(connection, "three", 5, 60.0) == []
        await polls.finish(connection, "two", mine.integration_id, 0.0)
        [again] = await polls.lease(connection, "three", 5, 60.0)
        assert again.cursor == Cursor(7, "y", 3)


async def test_a_provider_that_fails_is_waited_for_and_named(bench: Bench) -> None:
    fault = {"kind": "status", "status": 503, "headers": {"Retry-After": "2"}}
    await bench.served["servicenow"].post("/_faults", fault)
    bench.ticket("a")
    began = time.monotonic()
    async with polling(bench) as (poller, _, _):
        await until(lambda: bench.poll().get("failures") == 1)
        assert bench.poll()["last_error"] == "HTTP 503: HTTP 503"
        await until(lambda: "HTTP 503" in poller.checks()["polls"])
        assert poller.checks()["polls"].startswith("warning: ")
        await until(lambda: len(bench.seen()) == 1)
        assert time.monotonic() - began >= 2
        await until(lambda: poller.checks()["polls"] == "ok")
        assert set(poller.checks().values()) == {"ok"}
    assert bench.poll()["failures"] == 0


async def test_who_is_disabled_or_cannot_be_asked_is_left_alone(bench: Bench) -> None:
    integrations.disable(bench.rows, bench.ids["jira"])
    bench.rows.execute("DELETE FROM ops.integration_secrets WHERE integration_id = %s", (bench.ids["servicenow"],))
    async with polling(bench):
        await until(lambda: bool(bench.poll().get("polled_at")))
    assert bench.poll("jira") == {}
    assert bench.poll()["last_error"] == ""
    assert bench.servicenow.effects()["calls"] == {}


def test_a_round_begins_before_the_place_that_was_reached() -> None:
    assert reading.start(Cursor(), 1_000) == Cursor()
    assert reading.start(Cursor(5_000, "x"), 1_000) == Cursor(4_000, "", 4_000)
    assert reading.start(Cursor(5_000, "x", 2_000), 1_000) == Cursor(4_000, "", 2_000)  # one that was cut off
    assert reading.start(Cursor(500, "x"), 1_000) == Cursor(1, "", 1)


def test_what_was_sent_is_remembered_within_bounds() -> None:
    sent = reading.Sent(limit=2)
    messages = ServiceNowReceives().parse(
        integration("servicenow"), Delivery(b"{}", {}), {"event": "incident.delete", "sys_id": "a"}
    )
    assert sent.new(messages) == messages
    sent.remember(messages)
    assert sent.new(messages) == []
    for sys_id in ("b", "c"):
        document = {"event": "incident.delete", "sys_id": sys_id}
        sent.remember(ServiceNowReceives().parse(integration("servicenow"), Delivery(b"{}", {}), document))
    assert sent.new(messages) == messages
