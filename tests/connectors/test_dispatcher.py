"""The dispatcher against the running fake, real PostgreSQL and real Kafka."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from connectors.kit import integrations
from connectors.kit.directory import IntegrationDirectory
from connectors.kit.dispatcher import Dispatcher, DispatcherSettings
from connectors.kit.file_attempt import Store
from connectors.kit.http import ProviderHttp
from connectors.kit.secrets import ConnectorSettings, SecretBox
from connectors.registry import CONNECTORS
from infra.fakes.pagerduty.app import FakeApi
from infra.fakes.pagerduty.state import FakeAccount
from streams.domain.envelope import derive_id
from streams.runtime.producer import AcknowledgedProducer, BrokerUnavailable, ProducerRecord
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision
from tests.connectors.outbox import Bench, until
from tests.harness.serving import serving

pytestmark = [pytest.mark.stack]

TOKEN = "the-api-token"
FAST = DispatcherSettings(poll_s=0.2, lease_s=1.0, max_attempts=3, stop_s=2.0)


class Stalled(AcknowledgedProducer):
    """A producer whose process dies before the acknowledgement: the call never returns."""

    reached: asyncio.Event

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        """Wait for ever."""
        del records
        self.reached.set()
        await asyncio.Event().wait()


class Refusing(AcknowledgedProducer):
    """A producer whose broker is away for the first calls."""

    failures = 1

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        """Fail, then work."""
        if self.failures:
            self.failures -= 1
            raise BrokerUnavailable("away")
        await super().send(records)


@pytest.fixture(scope="module")
def topics(kafka_settings: KafkaSettings) -> KafkaSettings:
    provision(kafka_settings)
    return kafka_settings


@pytest.fixture(scope="module")
def box() -> SecretBox:
    return SecretBox(ConnectorSettings(secret_key=SecretStr(base64.b64encode(os.urandom(32)).decode())))


@pytest.fixture
def rows(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def bench(
    database_url: str, topics: KafkaSettings, box: SecretBox, rows: psycopg.Connection[dict[str, Any]]
) -> AsyncIterator[Bench]:
    account = FakeAccount()
    tenant = f"tenant-{secrets.token_hex(4)}"
    async with serving(FakeApi(account, TOKEN).app()) as fake:
        added = integrations.add(
            rows,
            box,
            CONNECTORS["pagerduty"],
            tenant,
            config={"api_url": fake.url},
            webhook_secret="s" * 16,
            api_token=TOKEN,
        )
        database = DatabaseSettings(url=SecretStr(database_url))
        yield Bench(database, topics, box, rows, account, fake, added.integration_id, tenant)


@asynccontextmanager
async def dispatching(
    bench: Bench,
    settings: DispatcherSettings = FAST,
    kind: type[AcknowledgedProducer] = AcknowledgedProducer,
    store: Store | None = None,
) -> AsyncIterator[tuple[Dispatcher, asyncio.Task[None], AcknowledgedProducer]]:
    """A dispatcher that runs for the block."""
    producer = kind(bench.kafka, "test-dispatcher")
    if isinstance(producer, Stalled):
        producer.reached = asyncio.Event()
    directory = IntegrationDirectory(bench.database, bench.box, role="projector")
    http = ProviderHttp(allow_loopback=True, timeout_s=1.0)
    topic = bench.kafka.topic("incident-intake")
    dispatcher = Dispatcher(settings, bench.database, producer, directory, http, CONNECTORS, topic, store)
    await directory.start()
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher, task, producer
    finally:
        dispatcher.stop()
        await asyncio.wait([task])
        await directory.close()
        await http.close()
        producer.close(1.0)
    if not task.cancelled():
        task.result()


async def test_an_intent_is_carried_out_and_reported(bench: Bench) -> None:
    intent_id = bench.intend("acknowledge")
    async with dispatching(bench):
        row = await bench.state(intent_id, "delivered")
    assert bench.account.effects == {"acknowledged": 1}
    assert (row["attempts"], row["leased_by"], row["finished_at"] is not None) == (1, None, True)
    [(command_id, effect)] = bench.effects()
    assert command_id == derive_id(intent_id, "effect")
    assert (effect.status, effect.intent_id, effect.incident_id, effect.attempts) == (
        "delivered",
        intent_id,
        "inc-1",
        1,
    )


async def test_it_wakes_when_told(bench: Bench) -> None:
    slow = DispatcherSettings(poll_s=600)
    async with dispatching(bench, slow) as (dispatcher, _, _):
        await until(lambda: dispatcher.checks()["database"] == "ok")
        await bench.state(bench.intend("resolve"), "delivered")


async def test_the_order_within_an_incident_is_kept(bench: Bench) -> None:
    await bench.fake.post("/_faults", {"kind": "status", "status": 500, "times": 1})
    first, second = bench.intend("acknowledge"), bench.intend("resolve")
    async with dispatching(bench):
        await bench.state(second, "delivered")
    assert bench.row(first)["finished_at"] < bench.row(second)["finished_at"]
    assert bench.account.effects == {"acknowledged": 1, "resolved": 1}
    assert bench.row(first)["attempts"] == 2


async def test_what_is_late_is_not_sent(bench: Bench) -> None:
    intent_id = bench.intend("acknowledge", late=True)
    async with dispatching(bench):
        await bench.state(intent_id, "expired")
    assert not bench.account.calls
    assert [effect.status for _, effect in bench.effects()] == ["expired"]


async def test_a_late_note_that_was_delivered_is_reported_as_delivered(bench: Bench) -> None:
    intent_id = bench.intend("note", late=True, attempts=1)
    bench.account.add_note("P-inc-1", f"rolled back [incidents:{intent_id}]")
    async with dispatching(bench):
        await bench.state(intent_id, "delivered")
    assert bench.account.effects == {"note": 1}


async def test_a_lost_answer_does_not_make_a_second_note(bench: Bench) -> None:
    await bench.fake.post("/_faults", {"kind": "drop_after"})
    intent_id = bench.intend("note")
    async with dispatching(bench):
        row = await bench.state(intent_id, "delivered")
    assert bench.account.effects == {"note": 1}
    assert row["attempts"] == 2


async def test_a_kill_between_call_and_mark_does_not_make_a_second_note(bench: Bench) -> None:
    intent_id = bench.intend("note")
    async with dispatching(bench, kind=Stalled) as (_, task, producer):
        assert isinstance(producer, Stalled)
        await asyncio.wait_for(producer.reached.wait(), 10)
        bench.rows.execute("UPDATE ops.outbox_events SET leased_by = 'a process that was killed'")
        task.cancel()
    assert bench.account.effects == {"note": 1}
    assert bench.row(intent_id)["state"] == "pending"
    async with dispatching(bench):
        await bench.state(intent_id, "delivered")
    assert bench.account.effects == {"note": 1}
    assert [command_id for command_id, _ in bench.effects()] == [derive_id(intent_id, "effect")]


async def test_a_dispatcher_that_was_frozen_does_not_send_what_is_leased_to_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = IntegrationDirectory.resolve
    woken = asyncio.Event()

    async def frozen(self: IntegrationDirectory, integration_id: str) -> Any:
        time.sleep(0.6)  # noqa: ASYNC251  nothing of the process runs, nothing renews its lease
        bench.rows.execute("UPDATE ops.outbox_events SET leased_by = 'another', leased_until = now() + interval '1 h'")
        woken.set()
        return await resolve(self, integration_id)

    monkeypatch.setattr(IntegrationDirectory, "resolve", frozen)
    intent_id = bench.intend("note")
    async with dispatching(bench, FAST.model_copy(update={"lease_s": 0.5})) as (dispatcher, _, _):
        await asyncio.wait_for(woken.wait(), 10)
        await until(lambda: not dispatcher._tasks)
    assert not bench.account.calls
    assert (bench.row(intent_id)["leased_by"], bench.row(intent_id)["state"]) == ("another", "pending")


async def test_a_row_is_not_marked_before_kafka_has_the_result(bench: Bench) -> None:
    intent_id = bench.intend("acknowledge")
    async with dispatching(bench, kind=Refusing):
        await until(lambda: "kafka" in bench.row(intent_id)["last_error"])
        assert bench.row(intent_id)["state"] == "pending"
        assert not bench.effects()
        await bench.state(intent_id, "delivered")
    assert bench.account.effects == {"acknowledged": 1}


async def test_a_rate_limit_is_honoured(bench: Bench) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"ratelimit-reset": "60"}}
    await bench.fake.post("/_faults", fault)
    intent_id = bench.intend("acknowledge")
    async with dispatching(bench):
        await until(lambda: bench.row(intent_id)["last_error"] != "")
    row = bench.row(intent_id)
    assert (row["state"], row["last_error"], row["attempts"]) == ("pending", "rate limited", 1)
    wait = bench.rows.execute("SELECT extract(epoch FROM %s - now()) AS s", (row["next_attempt_at"],)).fetchone()
    assert wait is not None
    assert 50 < wait["s"] <= 60


async def test_what_never_works_is_given_up(bench: Bench) -> None:
    await bench.fake.post("/_faults", {"kind": "status", "status": 500, "times": 9})
    intent_id = bench.intend("acknowledge")
    async with dispatching(bench):
        row = await bench.state(intent_id, "failed")
    assert row["attempts"] == FAST.max_attempts
    [(_, effect)] = bench.effects()
    assert (effect.status, effect.attempts) == ("failed", 3)
    assert "given up after 3" in effect.detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": "page"}, "no action 'page'"),
        ({"connector": "nobody"}, "disabled or gone"),
        ({"integration_id": "int_unknown"}, "disabled or gone"),
        ({"external_id": ""}, "no PagerDuty incident"),
    ],
)
async def test_what_cannot_work_fails_at_once(bench: Bench, change: dict[str, Any], reason: str) -> None:
    intent_id = bench.intend(**{"action": "acknowledge", **change})
    async with dispatching(bench):
        row = await bench.state(intent_id, "failed")
    assert row["attempts"] == 1
    assert reason in row["last_error"]


async def test_a_disabled_integration_stops_its_effects(bench: Bench) -> None:
    integrations.disable(bench.rows, bench.integration_id)
    intent_id = bench.intend("acknowledge")
    async with dispatching(bench):
        await bench.state(intent_id, "failed")
    assert not bench.account.calls


async def test_a_provider_that_is_down_is_not_hammered(bench: Bench) -> None:
    await bench.fake.post("/_faults", {"kind": "status", "status": 503, "times": 100})
    intents = [bench.intend("acknowledge", f"inc-{n}") for n in range(20)]
    async with dispatching(bench) as (dispatcher, _, _):
        await until(lambda: dispatcher.open_circuits() == 1)
        await until(lambda: all(bench.row(one)["leased_by"] is None for one in intents))
    assert sum(bench.account.calls.values()) < 12
    assert {bench.row(one)["state"] for one in intents} == {"pending"}


async def test_a_slow_provider_does_not_hold_up_another(bench: Bench) -> None:
    await bench.fake.post("/_faults", {"kind": "slow", "seconds": 0.7, "times": 60})
    for number in range(60):
        bench.intend("note", f"inc-{number}")
    async with serving(FakeApi(FakeAccount()).app()) as quick:
        other = integrations.add(
            bench.rows,
            bench.box,
            CONNECTORS["pagerduty"],
            bench.tenant,
            config={"api_url": quick.url},
            webhook_secret="s" * 16,
            api_token=TOKEN,
        )
        intent_id = bench.intend("acknowledge", "inc-quick", integration_id=other.integration_id)
        async with dispatching(bench, FAST.model_copy(update={"max_in_flight": 8})):
            await bench.state(intent_id, "delivered")
            assert bench.account.effects["note"] < 30


async def test_two_dispatchers_share_the_work(bench: Bench) -> None:
    intents = [bench.intend("note", f"inc-{n % 20}") for n in range(60)]
    async with dispatching(bench), dispatching(bench):
        for one in intents:
            await bench.state(one, "delivered")
    assert bench.account.effects == {"note": 60}
    assert len(bench.effects()) == 60


async def test_it_waits_for_a_database_that_goes_away(bench: Bench) -> None:
    async with dispatching(bench) as (dispatcher, _, _):
        await until(lambda: dispatcher.checks()["database"] == "ok")
        bench.rows.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'incidents-%%'"
        )
        await bench.state(bench.intend("acknowledge"), "delivered")


async def test_stopping_gives_the_leases_back(bench: Bench) -> None:
    intent_id = bench.intend("note")
    settings = DispatcherSettings(stop_s=0.1, lease_s=60)
    async with dispatching(bench, settings, Stalled) as (dispatcher, task, producer):
        assert isinstance(producer, Stalled)
        await asyncio.wait_for(producer.reached.wait(), 10)
        dispatcher.stop()
        await asyncio.wait_for(task, 5)
    row = bench.rows.execute(
        "SELECT leased_until <= now() AS free FROM ops.outbox_events WHERE intent_id = %s", (intent_id,)
    ).fetchone()
    assert row == {"free": True}
