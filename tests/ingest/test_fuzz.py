"""No input gives a 500: arbitrary bytes, texts and JSON, with genuine signatures, through a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.connectors.examples import SECRETS, SIGNED, canonical_event, signed_anew
from tests.harness.serving import serving
from tests.ingest.application import Ports, application

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.integers(-(2**63), 2**64 - 1),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(), children, max_size=5),
    max_leaves=20,
)
NAMES = (
    "event",
    "event_type",
    "data",
    "alerts",
    "labels",
    "status",
    "startsAt",
    "id",
    "source",
    "type",
    "specversion",
    "time",
    "webhookEvent",
    "issue",
    "fields",
    "comment",
    "body",
    "content",
    "sys_id",
    "record",
    "journal",
)
SHAPED = st.recursive(
    JSON,
    lambda children: st.dictionaries(st.sampled_from(NAMES), children, max_size=6) | st.lists(children, max_size=3),
    max_leaves=10,
)
BODIES = (
    st.binary(max_size=300)
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | SHAPED.map(orjson.dumps)
)
MEDIA_TYPES = ("application/json", "application/cloudevents+json", "application/cloudevents-batch+json")
HEADER_TEXTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)
ANSWERS = {202, 400, 401, 403, 404, 413, 415, 422}
FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@contextmanager
def running() -> Iterator[httpx.Client]:
    """The application on an event loop of its own thread, so that hypothesis can drive it."""
    loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with serving(application(Ports())) as served:
            found.append(served.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        with httpx.Client(base_url=found[0]) as client:
            yield client
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running() as found:
        yield found


@FUZZ
@given(
    body=BODIES,
    connector=st.sampled_from(sorted(SIGNED)),
    media=st.sampled_from(MEDIA_TYPES),
)
def test_any_body(client: httpx.Client, body: bytes, connector: str, media: str) -> None:
    headers = {**signed_anew(connector, body, SECRETS[0]), "Content-Type": media}
    answer = client.post(f"/api/v1/webhooks/{connector}/acme_{connector}", content=body, headers=headers)
    assert answer.status_code in ANSWERS, answer.text


@FUZZ
@given(changes=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), SHAPED, max_size=4), batch=st.booleans())
def test_any_event(client: httpx.Client, changes: dict[str, Any], batch: bool) -> None:  # noqa: FBT001  drawn
    event = {**canonical_event(), **changes}
    body = orjson.dumps([event] if batch else event)
    headers = {"Content-Type": MEDIA_TYPES[2 if batch else 1], "Authorization": "Bearer admin-token"}
    answer = client.post("/api/v1/events", content=body, headers=headers)
    assert answer.status_code in ANSWERS, answer.text


@FUZZ
@given(
    values=st.dictionaries(
        st.sampled_from(("ce-id", "ce-source", "ce-type", "ce-time", "ce-specversion", "ce-x")), HEADER_TEXTS
    )
)
def test_any_headers(client: httpx.Client, values: dict[str, str]) -> None:
    sent = {
        **{name.encode(): value.encode("latin-1") for name, value in values.items()},
        b"Content-Type": b"application/json",
        b"Authorization": b"Bearer admin-token",
    }
    answer = client.post("/api/v1/events", content=b'{"title":"t"}', headers=sent)
    assert answer.status_code in ANSWERS, answer.text


@FUZZ
@given(connector=st.text(max_size=20), integration=st.text(max_size=20), key=st.text(max_size=20))
def test_any_path(client: httpx.Client, connector: str, integration: str, key: str) -> None:
    quoted = [httpx.QueryParams({"p": part.replace("/", "")}) for part in (connector, integration)]
    path = "/".join(str(part).removeprefix("p=") or "-" for part in quoted)
    answer = client.post(f"/api/v1/webhooks/{path}", params={"key": key}, content=b"{}")
    assert answer.status_code in ANSWERS | {405}, answer.text
