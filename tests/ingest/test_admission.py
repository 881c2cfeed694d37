"""A tenant that fills the intake waits with 503 and Retry-After; the others, and its commands, do not."""

from __future__ import annotations

import httpx
import pytest

from api.commands import Commands
from api.problems import Problem
from policy.decision import Principal
from streams.domain.commands import Declare
from streams.runtime.admission import ASSUMED_RATE, COMMANDS_S, WEBHOOKS_S, Gate
from tests.connectors.examples import SECRETS, SIGNED
from tests.harness.serving import serving
from tests.ingest.application import Ports, application

WORK = int(ASSUMED_RATE)


@pytest.fixture
def gate() -> Gate:
    return Gate(lambda: 100.0)


def backlog(gate: Gate, seconds: float) -> None:
    gate.observe(1, {0: (int(seconds * WORK), 0)})


async def send(client: httpx.AsyncClient, tenant: str) -> httpx.Response:
    body, headers = SIGNED["alertmanager"](SECRETS[0])
    return await client.post(f"/api/v1/webhooks/alertmanager/{tenant}_alertmanager", content=body, headers=headers)


async def test_the_tenant_that_fills_the_partition_is_told_to_come_back(gate: Gate) -> None:
    ports = Ports()
    backlog(gate, 0)
    async with serving(application(ports, gate)) as served, httpx.AsyncClient(base_url=served.url) as client:
        for tenant in ("acme", "acme", "acme", "other"):
            assert (await send(client, tenant)).status_code == httpx.codes.ACCEPTED
        taken = len(ports.records)
        backlog(gate, WEBHOOKS_S + 4)
        held = await send(client, "acme")
        assert (held.status_code, held.json()["code"]) == (503, "unavailable")
        assert held.headers["retry-after"] == "5"
        assert len(ports.records) == taken, "nothing was accepted"
        backlog(gate, WEBHOOKS_S + 1)
        assert (await send(client, "other")).status_code == httpx.codes.ACCEPTED
        bad = await client.post("/api/v1/webhooks/alertmanager/acme_alertmanager", content=b"{}")
        assert bad.status_code == httpx.codes.UNAUTHORIZED, "who cannot prove who they are learns nothing"


async def test_commands_wait_only_far_later(gate: Gate) -> None:
    ports = Ports()
    commands = Commands(ports, "incident-intake", None, None, timeout_s=1, admit=lambda t: gate.check(t, command=True))  # type: ignore[arg-type]  # only what sending needs
    principal = Principal("acme", "responder", "token-1")
    command = Declare("Checkout is down", "user:ada")
    backlog(gate, COMMANDS_S - 1)
    await commands._send(principal, "c-1", command, "")
    assert len(ports.records) == 1
    backlog(gate, COMMANDS_S + 2)
    with pytest.raises(Problem) as raised:
        await commands._send(principal, "c-2", command, "")
    assert (raised.value.status, raised.value.code, raised.value.headers["Retry-After"]) == (503, "overloaded", "3")
    assert len(ports.records) == 1
