"""PagerDuty's REST API: rendering, reading, and calls against the running fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from connectors.kit.contract import Integration, Secret
from connectors.kit.http import Answer, ProviderHttp
from connectors.kit.markers import has_marker
from connectors.kit.outcome import Found, NotFound, Ok, PermanentFailure, TransientFailure, Unknown
from connectors.pagerduty import outbound
from connectors.pagerduty.client import PagerDutySends
from infra.fakes.pagerduty.app import FakeApi
from infra.fakes.pagerduty.state import FakeAccount
from streams.domain.outputs import Intent
from tests.connectors.examples import integration
from tests.harness.serving import Serving, serving

TOKEN, EMAIL = "the-api-token", "ops@example.org"
SENDS = PagerDutySends()


def intent(action: str, external_id: str = "PINC1", text: str = "rolled back") -> Intent:
    return Intent("i-1", "inc", "pagerduty", "int_1", action, external_id, "key-1", "e-1", 0, payload={"text": text})


def answer(status: int, code: int = 0, **headers: str) -> Answer:
    body = {"error": {"code": code, "message": "m", "errors": []}} if code else {}
    return Answer(status, headers, orjson.dumps(body))


@pytest.fixture
async def fake() -> AsyncIterator[Serving]:
    async with serving(FakeApi(FakeAccount(auto_create=False), TOKEN, EMAIL).app()) as found:
        yield found


@pytest.fixture
async def account() -> AsyncIterator[tuple[FakeAccount, Integration, Serving]]:
    state = FakeAccount()
    async with serving(FakeApi(state, TOKEN, EMAIL).app()) as found:
        yield state, linked(found.url), found


def linked(url: str, token: str = TOKEN, email: str = EMAIL) -> Integration:
    return integration("pagerduty", {"api_url": url, "from_email": email}, Secret("api_token", token))


@pytest.fixture
async def http() -> AsyncIterator[ProviderHttp]:
    client = ProviderHttp(allow_loopback=True, timeout_s=1.0)
    yield client
    await client.close()


def test_requests() -> None:
    request = outbound.render(intent("acknowledge", "P/1"))
    assert isinstance(request, outbound.Request)
    assert (request.method, request.path) == ("PUT", "/incidents/P%2F1")
    note = outbound.render(intent("note"))
    assert isinstance(note, outbound.Request)
    assert note.body is not None
    assert has_marker(note.body["note"]["content"])
    assert isinstance(outbound.render(intent("page")), PermanentFailure)
    assert isinstance(outbound.render(intent("note", "")), PermanentFailure)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (answer(200), Ok("PINC1")),
        (answer(400, 1001), Ok("PINC1", "already so")),
        (answer(400, 1002), Ok("PINC1", "already so")),
        (answer(429, 2020, **{"ratelimit-reset": "7"}), TransientFailure("rate limited", 7.0, throttled=True)),
        (answer(429), TransientFailure("HTTP 429", 0.0, throttled=True)),
        (answer(400, 2020), TransientFailure("rate limited", 0.0, throttled=True)),
        (answer(503, 2000), TransientFailure("HTTP 503, error 2000")),
        (answer(400, 1008), PermanentFailure("HTTP 400, error 1008")),
        (answer(402), PermanentFailure("HTTP 402")),
        (answer(403, 2010), PermanentFailure("HTTP 403, error 2010")),
        (answer(404, 2100), PermanentFailure("HTTP 404, error 2100")),
        (Answer(500, {}, b"<html>"), TransientFailure("HTTP 500")),
    ],
)
def test_answers(got: Answer, expected: Any) -> None:
    assert outbound.read(got, intent("acknowledge"), 0.0) == expected


async def test_effects_happen_once(account: tuple[FakeAccount, Integration, Serving], http: ProviderHttp) -> None:
    state, link, _ = account
    for action in ("acknowledge", "acknowledge", "resolve", "resolve", "acknowledge"):
        assert isinstance(await SENDS.send(http, link, intent(action)), Ok)
    assert state.effects == {"acknowledged": 1, "resolved": 1}
    assert state.calls["put"] == 5


async def test_a_note_is_found_again(account: tuple[FakeAccount, Integration, Serving], http: ProviderHttp) -> None:
    state, link, _ = account
    assert await SENDS.look_up(http, link, intent("note")) == NotFound()
    sent = await SENDS.send(http, link, intent("note"))
    assert isinstance(sent, Ok)
    assert await SENDS.look_up(http, link, intent("note")) == Found(sent.external_ref)
    assert state.effects == {"note": 1}


async def test_faults_become_results(account: tuple[FakeAccount, Integration, Serving], http: ProviderHttp) -> None:
    state, link, served = account
    faults = [
        ({"kind": "status", "status": 429, "headers": {"ratelimit-reset": "3"}}, "rate limited"),
        ({"kind": "status", "status": 500}, "HTTP 500, error 2000"),
        ({"kind": "drop_after"}, "connection: RemoteProtocolError"),
        ({"kind": "slow", "seconds": 5}, "no answer in time"),
    ]
    for fault, reason in faults:
        await served.post("/_faults", fault)
        outcome = await SENDS.send(http, link, intent("note"))
        assert isinstance(outcome, TransientFailure)
        assert outcome.reason == reason
    assert state.effects == {"note": 2}  # the last two did the work and only lost the answer
    await served.post("/_faults", {"kind": "status", "status": 503})
    assert isinstance(await SENDS.look_up(http, link, intent("note")), Unknown)


async def test_a_server_that_is_not_there(http: ProviderHttp) -> None:
    outcome = await SENDS.send(http, linked("http://127.0.0.1:9"), intent("acknowledge"))
    assert outcome == TransientFailure("connection: ConnectError")


async def test_credentials_are_checked_by_the_fake(fake: Serving, http: ProviderHttp) -> None:
    outcomes = [
        await SENDS.send(http, linked(fake.url, token="wrong"), intent("acknowledge")),
        await SENDS.send(http, linked(fake.url, email="nobody@example.org"), intent("acknowledge")),
        await SENDS.send(http, linked(fake.url), intent("acknowledge", "PUNKNOWN")),
        await SENDS.send(http, integration("pagerduty", {"api_url": fake.url}), intent("acknowledge")),
        await SENDS.send(ProviderHttp(), linked(fake.url), intent("acknowledge")),
    ]
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, PermanentFailure)] == [
        "HTTP 401, error 2006",
        "HTTP 400, error 1008",
        "HTTP 404, error 2100",
        "the integration has no api_token",
        "refused address: must begin with https://",
    ]


def test_the_fake_remembers(tmp_path: Any) -> None:
    FakeAccount(tmp_path).set_status("PINC1", "acknowledged")
    again = FakeAccount(tmp_path)
    assert again.incidents["PINC1"].status == "acknowledged"
    assert again.effects == {"acknowledged": 1}
