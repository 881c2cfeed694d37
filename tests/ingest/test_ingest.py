"""The ingest endpoints through a real HTTP server: what is taken, what is refused, and with which answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import orjson
import pytest

from api.ingest.dependencies import MAX_BODY_BYTES
from infra.fakes.alertmanager import deliveries as alertmanager
from infra.fakes.pagerduty.deliveries import signatures
from streams.domain.signals import ProviderIngested, Signal
from streams.runtime.object_storage import StorageUnavailable
from streams.runtime.producer import BrokerUnavailable, QueueFull, RecordTooLarge
from tests.connectors.examples import AT, SECRETS, SIGNED, canonical_event, signed_anew
from tests.harness.serving import serving
from tests.ingest.application import Ports, application

STRUCTURED = {"Content-Type": "application/cloudevents+json", "Authorization": "Bearer responder-token"}
BATCH = {**STRUCTURED, "Content-Type": "application/cloudevents-batch+json"}


@pytest.fixture
def ports() -> Ports:
    return Ports()


@pytest.fixture
async def client(ports: Ports) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(application(ports)) as served, httpx.AsyncClient(base_url=served.url) as found:
        yield found


def webhook(connector: str, tenant: str = "acme") -> str:
    return f"/api/v1/webhooks/{connector}/{tenant}_{connector}"


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert isinstance(document, dict)
    assert (document["status"], document["code"]) == (status, code)
    return document


async def signed(client: httpx.AsyncClient, body: bytes, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "application/json", "X-PagerDuty-Signature": signatures(body, SECRETS[:1]), **headers}
    return await client.post(webhook("pagerduty"), content=body, headers=sent)


@pytest.mark.parametrize("connector", sorted(SIGNED))
async def test_a_webhook_is_accepted_and_keyed_by_its_tenant(
    client: httpx.AsyncClient, ports: Ports, connector: str
) -> None:
    body, headers = SIGNED[connector](SECRETS[1])
    response = await client.post(webhook(connector), content=body, headers=headers)
    assert response.status_code == 202
    assert response.json()["ids"] == [envelope.id for envelope, _ in ports.messages()]
    assert response.json()["accepted"] == len(ports.records) > 0
    assert {(record.key, record.topic) for record in ports.records} == {(b"acme", "incident-intake")}


async def test_the_secret_url_of_alertmanager(client: httpx.AsyncClient) -> None:
    body, headers = SIGNED["alertmanager"]("unused")
    del headers["Authorization"]
    url = webhook("alertmanager")
    assert (await client.post(f"{url}?key={SECRETS[0]}", content=body, headers=headers)).status_code == 202
    refused(await client.post(f"{url}?key=wrong", content=body, headers=headers), 401, "unauthorized")


async def test_unknown_integrations_all_look_alike(client: httpx.AsyncClient) -> None:
    body, headers = SIGNED["pagerduty"](SECRETS[0])
    paths = ["pagerduty/none_pagerduty", "alertmanager/acme_pagerduty", "nobody/acme_pagerduty", "pagerduty/%00"]
    answers = [await client.post(f"/api/v1/webhooks/{path}", content=body, headers=headers) for path in paths]
    assert len({refused(answer, 404, "unknown-integration")["title"] for answer in answers}) == 1


async def test_a_bad_signature_is_refused_without_a_word(client: httpx.AsyncClient, ports: Ports) -> None:
    body, headers = SIGNED["pagerduty"]("another secret")
    document = refused(await client.post(webhook("pagerduty"), content=body, headers=headers), 401, "unauthorized")
    assert "detail" not in document
    good, headers = SIGNED["pagerduty"](SECRETS[0])
    refused(await client.post(webhook("pagerduty"), content=good + b" ", headers=headers), 401, "unauthorized")
    refused(await client.post(webhook("pagerduty"), content=good), 401, "unauthorized")
    assert not ports.records


async def test_an_integration_without_secrets_is_closed(client: httpx.AsyncClient) -> None:
    body, headers = SIGNED["pagerduty"]("")
    url = "/api/v1/webhooks/pagerduty/acme_pagerduty-closed"
    refused(await client.post(url, content=body, headers=headers), 401, "unauthorized")


async def test_the_signature_is_checked_before_content_type_and_body(client: httpx.AsyncClient) -> None:
    answer = await client.post(webhook("pagerduty"), content=b"not json", headers={"Content-Type": "text/plain"})
    refused(answer, 401, "unauthorized")
    refused(await signed(client, b"not json", **{"Content-Type": "text/plain"}), 415, "unsupported-media-type")
    refused(await signed(client, b"not json", **{"Content-Type": ""}), 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 100_000,
        b"'single'",
    ],
)
async def test_malformed_json(client: httpx.AsyncClient, ports: Ports, body: bytes) -> None:
    refused(await signed(client, body), 400, "malformed-json")
    assert not ports.records


@pytest.mark.parametrize("body", [b"[" * 64 + b"]" * 64, b'{"a":1,"a":2}', b"[{}," * 50 + b"1" + b"]" * 50, b"null"])
async def test_odd_but_legal_json_is_kept(client: httpx.AsyncClient, ports: Ports, body: bytes) -> None:
    assert (await signed(client, body)).status_code == 202
    [(_, data)] = ports.messages()
    assert isinstance(data, ProviderIngested)
    assert (bool(data.problem), data.raw) == (True, body)


async def test_a_large_body_is_refused_by_what_it_declares(client: httpx.AsyncClient) -> None:
    answer = await client.post(webhook("pagerduty"), content=b"x" * (MAX_BODY_BYTES + 1))
    refused(answer, 413, "body-too-large")


async def test_a_large_body_is_cut_off_while_it_arrives(client: httpx.AsyncClient) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 100 * MAX_BODY_BYTES:
            taken += 65_536
            yield b"x" * 65_536
            await asyncio.sleep(0)

    # The server may close the connection before the client has read the answer.
    with contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        refused(await client.post(webhook("pagerduty"), content=endless()), 413, "body-too-large")
    assert taken < 20 * MAX_BODY_BYTES


async def test_a_large_raw_body_goes_to_object_storage_first(client: httpx.AsyncClient, ports: Ports) -> None:
    body, _ = SIGNED["pagerduty"](SECRETS[0])
    large = orjson.dumps({**json.loads(body), "padding": "x" * 300_000})
    assert (await signed(client, large)).status_code == 202
    [(envelope, data)] = ports.messages()
    assert (data.raw, ports.objects[data.raw_ref], envelope.dataref) == (b"", large, data.raw_ref)
    assert ports.order == ["storage", "kafka"]


@pytest.mark.parametrize("error", [BrokerUnavailable("down"), QueueFull("full")])
async def test_no_acknowledgement_is_503(client: httpx.AsyncClient, ports: Ports, error: Exception) -> None:
    ports.fails = error
    body, headers = SIGNED["pagerduty"](SECRETS[0])
    answer = await client.post(webhook("pagerduty"), content=body, headers=headers)
    refused(answer, 503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_other_parts_that_are_away_are_503(client: httpx.AsyncClient, ports: Ports) -> None:
    ports.storage_fails = StorageUnavailable("down", retry_after_s=7.2)
    answer = await signed(client, orjson.dumps({"padding": "x" * 300_000}))
    refused(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "8"
    ports.directory_fails = True
    refused(await signed(client, b"{}"), 503, "unavailable")
    assert not ports.records


async def test_a_record_that_is_too_large_is_413(client: httpx.AsyncClient, ports: Ports) -> None:
    ports.fails = RecordTooLarge("too large")
    refused(await signed(client, b"{}"), 413, "event-too-large")


async def test_events_with_a_token(client: httpx.AsyncClient, ports: Ports) -> None:
    event = orjson.dumps(canonical_event())
    assert (await client.post("/api/v1/events", content=event, headers=STRUCTURED)).status_code == 202
    batch = orjson.dumps([canonical_event(id=str(n)) for n in range(5)])
    assert (await client.post("/api/v1/events", content=batch, headers=BATCH)).json()["accepted"] == 5
    assert {envelope.tenantid for envelope, _ in ports.messages()} == {"acme"}
    binary = {f"ce-{name}": str(value) for name, value in canonical_event().items() if name != "data"}
    headers = {**STRUCTURED, **binary, "Content-Type": "application/json"}
    data = orjson.dumps(canonical_event()["data"])
    assert (await client.post("/api/v1/events", content=data, headers=headers)).status_code == 202


async def test_events_need_a_token_that_may_write(client: httpx.AsyncClient, ports: Ports) -> None:
    event = orjson.dumps(canonical_event())
    for token, status, code in (("nobody", 401, "unauthorized"), ("viewer-token", 403, "forbidden")):
        headers = {**STRUCTURED, "Authorization": f"Bearer {token}"}
        refused(await client.post("/api/v1/events", content=event, headers=headers), status, code)
        refused(await client.post("/api/v1/events/preview", content=b"{}", headers=headers), status, code)
    assert not ports.records


async def test_a_bad_batch_is_refused_whole_with_the_index(client: httpx.AsyncClient, ports: Ports) -> None:
    batch = orjson.dumps([canonical_event(), canonical_event(type="com.incidents.declared.v1")])
    document = refused(await client.post("/api/v1/events", content=batch, headers=BATCH), 400, "invalid-event")
    assert document["index"] == 1
    assert not ports.records


async def test_a_mapping_is_that_of_the_named_integration(client: httpx.AsyncClient, ports: Ports) -> None:
    event = orjson.dumps(canonical_event(type="com.example.cpu", data={"name": "CPU"}))
    headers = {**STRUCTURED, "X-Incidents-Integration": "acme_cloudevents-mapped"}
    assert (await client.post("/api/v1/events", content=event, headers=headers)).status_code == 202
    [(_, data)] = ports.messages()
    assert isinstance(data, Signal)
    assert (data.title, data.integration_id) == ("CPU", "acme_cloudevents-mapped")
    for foreign in ("other_cloudevents-mapped", "acme_pagerduty", "acme_nothing"):
        headers["X-Incidents-Integration"] = foreign
        refused(await client.post("/api/v1/events", content=event, headers=headers), 404, "unknown-integration")
    refused(await client.post("/api/v1/events", content=event, headers=STRUCTURED), 400, "invalid-event")


async def test_preview(client: httpx.AsyncClient, ports: Ports) -> None:
    mapping = {"rules": [{"type": "*", "fields": {"title": {"path": "$.data.name"}}}]}
    event = canonical_event(type="com.example.cpu", data={"name": "CPU"})
    document = {"mapping": mapping, "event": event}
    answer = await client.post("/api/v1/events/preview", json=document, headers=STRUCTURED)
    assert (answer.status_code, answer.json()["signal"]["title"], answer.json()["rule"]) == (200, "CPU", 0)
    for bad, status, code in (
        ({"mapping": {}, "event": event}, 422, "invalid-mapping"),
        ({"mapping": mapping, "event": {}}, 422, "invalid-event"),
        ({"mapping": mapping}, 400, "malformed-json"),
        ([], 400, "malformed-json"),
    ):
        refused(await client.post("/api/v1/events/preview", json=bad, headers=STRUCTURED), status, code)
    assert not ports.records


async def test_the_good_alerts_of_a_group_are_kept(client: httpx.AsyncClient, ports: Ports) -> None:
    good = alertmanager.PrometheusAlert({"alertname": "A"}, AT)
    bad = alertmanager.PrometheusAlert({"alertname": "B"}, "never")
    body, headers = alertmanager.webhook([good, bad, good], secret=SECRETS[0])
    assert (await client.post(webhook("alertmanager"), content=body, headers=headers)).json()["accepted"] == 3
    assert [getattr(data, "problem", "") != "" for _, data in ports.messages()] == [False, True, False]


async def test_no_secret_is_logged(
    client: httpx.AsyncClient, ports: Ports, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    ports.fails = BrokerUnavailable("down")
    for connector, sign in SIGNED.items():
        body, headers = sign(SECRETS[0])
        await client.post(webhook(connector), content=body, headers=headers)
    written = "".join(capfd.readouterr()) + caplog.text
    assert not [secret for secret in SECRETS if secret in written]


def odd_values() -> Iterator[Any]:
    """JSON of every kind, to be put in the place of any field."""
    yield from (
        None,
        True,
        0,
        -1,
        2**63,
        1e308,
        "",
        "\0",
        "x" * 3000,
        "\u2028",
        "🚨" * 300,
        [],
        [[]],
        {},
        {"": {}},
        [None],
    )


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values of a document."""
    yield path
    children = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with another value at a path."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("connector", sorted(SIGNED))
async def test_no_value_in_any_place_is_a_500(client: httpx.AsyncClient, ports: Ports, connector: str) -> None:
    body, _ = SIGNED[connector](SECRETS[0])
    original = json.loads(body)
    for path in places(original):
        for value in odd_values():
            changed = orjson.dumps(replaced(original, path, value)) if not _too_big(value) else None
            if changed is None:
                continue
            answer = await _send(client, connector, changed)
            assert answer.status_code in {202, 400}, (path, value, answer.text)
    assert ports.messages()


def _too_big(value: Any) -> bool:
    return isinstance(value, int) and value > 2**63


async def _send(client: httpx.AsyncClient, connector: str, body: bytes) -> httpx.Response:
    headers = signed_anew(connector, body, SECRETS[0])
    return await client.post(webhook(connector), content=body, headers=headers)
