"""The dispatcher's ticket path against a ServiceNow fake, real PostgreSQL and real Kafka: one ticket, one result."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
import pytest
from pydantic import SecretStr

from connectors.kit import integrations
from connectors.kit.secrets import SecretBox
from connectors.registry import CONNECTORS
from infra.fakes.pagerduty.state import FakeAccount
from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.store import Store
from streams.domain.envelope import derive_id
from streams.domain.tickets import RecordTicket, TicketRequest
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.connectors.outbox import Bench, until
from tests.connectors.test_dispatcher import FAST, TOKEN, Stalled, box, dispatching, rows, topics
from tests.harness.serving import serving

__all__ = ["box", "rows", "topics"]  # fixtures

pytestmark = [pytest.mark.stack]

MARKER = "inc-5b1c6c0e-3f55-5a53-9c0f-7f1f5e6a1c11-int_1"


@dataclass(frozen=True)
class Desk:
    """The outbox, and the ServiceNow behind it."""

    bench: Bench
    fake: FakeServiceNow

    def ask(self, action: str, request: TicketRequest, external_id: str = "", **more: Any) -> str:
        """Plan a ticket intent; its id."""
        payload = orjson.dumps(request.payload()).decode()
        return self.bench.intend(action, connector="servicenow", external_id=external_id, payload=payload, **more)

    def make(self) -> str:
        """Plan the making of a ticket."""
        return self.ask("ticket_create", TicketRequest(MARKER, {"short_description": "down", "urgency": "1"}))

    def results(self) -> list[RecordTicket]:
        """What was reported, each under the id that any report about its intent has."""
        found: list[RecordTicket] = []
        for command_id, command in self.bench.effects():
            assert isinstance(command, RecordTicket)
            assert command_id == derive_id(command.intent_id, "effect")
            found.append(command)
        return found

    def tickets(self) -> dict[str, dict[str, str]]:
        """The records of the instance."""
        found: dict[str, dict[str, str]] = self.fake.effects()["tickets"]
        return found


@pytest.fixture
async def desk(
    database_url: str, topics: KafkaSettings, box: SecretBox, rows: psycopg.Connection[dict[str, Any]]
) -> AsyncIterator[Desk]:
    fake, tenant = FakeServiceNow(Store(), "incidents", TOKEN), f"tenant-{secrets.token_hex(4)}"
    async with serving(fake.app()) as served:
        config = {"base_url": served.url, "username": "incidents"}
        added = integrations.add(rows, box, CONNECTORS["servicenow"], tenant, config=config, api_token=TOKEN)
        database = DatabaseSettings(url=SecretStr(database_url))
        bench = Bench(database, topics, box, rows, FakeAccount(), served, added.integration_id, tenant)
        yield Desk(bench, fake)


async def test_a_ticket_is_made_and_reported(desk: Desk) -> None:
    intent_id = desk.make()
    async with dispatching(desk.bench):
        row = await desk.bench.state(intent_id, "delivered")
    [(sys_id, record)] = desk.tickets().items()
    assert (record["correlation_id"], record["short_description"]) == (MARKER, "down")
    [result] = desk.results()
    assert (result.status, result.intent_id, result.attempts, row["attempts"]) == ("done", intent_id, 1, 1)
    assert (result.external_id, result.external_key, result.version) == (sys_id, record["number"], 1)
    assert (result.fields["urgency"], result.written) == ("1", ("short_description", "urgency"))


async def test_a_lost_answer_does_not_make_a_second_ticket(desk: Desk) -> None:
    await desk.bench.fake.post("/_faults", {"kind": "drop_after", "on": "create"})
    intent_id = desk.make()
    async with dispatching(desk.bench):
        await desk.bench.state(intent_id, "delivered")
    [sys_id] = desk.tickets()
    [result] = desk.results()
    assert (result.external_id, result.attempts, result.detail) == (sys_id, 2, "found by its marker")


async def test_a_kill_between_call_and_report_does_not_make_a_second_ticket(desk: Desk) -> None:
    intent_id = desk.make()
    async with dispatching(desk.bench, kind=Stalled) as (_, task, producer):
        assert isinstance(producer, Stalled)
        await asyncio.wait_for(producer.reached.wait(), 10)
        desk.bench.rows.execute("UPDATE ops.outbox_events SET leased_by = 'a process that was killed'")
        task.cancel()
    assert len(desk.tickets()) == 1
    assert desk.bench.row(intent_id)["state"] == "pending"
    async with dispatching(desk.bench):
        await desk.bench.state(intent_id, "delivered")
    assert len(desk.tickets()) == 1
    assert [result.status for result in desk.results()] == ["done"]


async def test_an_update_says_what_it_found_instead(desk: Desk) -> None:
    made = desk.make()
    async with dispatching(desk.bench):
        await desk.bench.state(made, "delivered")
        [sys_id] = desk.tickets()
        await asyncio.to_thread(desk.fake.table.update, sys_id, {"urgency": "3"}, "eve")
        request = TicketRequest(MARKER, {"urgency": "2"}, {"urgency": "1"}, 1)
        stale = desk.ask("ticket_update", request, sys_id)
        await desk.bench.state(stale, "delivered")
        request = TicketRequest(MARKER, {"urgency": "2"}, {"urgency": "3"}, 2)
        written = desk.ask("ticket_update", request, sys_id)
        await desk.bench.state(written, "delivered")
    assert [(one.status, one.fields["urgency"]) for one in desk.results()] == [
        ("done", "1"),
        ("stale", "3"),
        ("done", "2"),
    ]
    assert desk.tickets()[sys_id]["urgency"] == "2"


async def test_a_ticket_that_is_gone_is_reported_as_gone(desk: Desk) -> None:
    intent_id = desk.ask("ticket_read", TicketRequest(MARKER), "f" * 32)
    async with dispatching(desk.bench):
        await until(lambda: desk.bench.row(intent_id)["state"] != "pending")
    [result] = desk.results()
    assert (result.status, result.external_id, result.attempts) == ("gone", "", 1)
    assert result.detail


@pytest.mark.parametrize(
    ("fault", "attempts", "detail"),
    [({"status": 403}, 1, "HTTP 403"), ({"status": 500, "times": 9}, FAST.max_attempts, "given up after 3")],
)
async def test_what_does_not_work_is_reported_once(
    desk: Desk, fault: dict[str, Any], attempts: int, detail: str
) -> None:
    await desk.bench.fake.post("/_faults", {"kind": "status", **fault})
    intent_id = desk.make()
    async with dispatching(desk.bench):
        row = await desk.bench.state(intent_id, "failed")
    [result] = desk.results()
    assert (result.status, result.attempts, row["attempts"]) == ("failed", attempts, attempts)
    assert detail in result.detail
    assert not desk.tickets()


async def test_a_payload_that_nobody_wrote_fails_at_once(desk: Desk) -> None:
    intent_id = desk.bench.intend("ticket_create", connector="servicenow", payload='{"changes": "[]"}')
    async with dispatching(desk.bench):
        await desk.bench.state(intent_id, "failed")
    assert "payload: not an object of texts" in desk.results()[0].detail


async def test_a_rate_limit_is_honoured(desk: Desk) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "60"}}
    await desk.bench.fake.post("/_faults", fault)
    intent_id = desk.make()
    async with dispatching(desk.bench):
        await until(lambda: desk.bench.row(intent_id)["last_error"] != "")
    row = desk.bench.row(intent_id)
    assert (row["state"], row["attempts"]) == ("pending", 1)
    wait = desk.bench.rows.execute("SELECT extract(epoch FROM %s - now()) AS s", (row["next_attempt_at"],)).fetchone()
    assert wait is not None
    assert 50 < wait["s"] <= 60
    assert not desk.results()
