"""No input gives a 500: each kind of bad input has its answer, and so has whatever hypothesis comes up with."""

from __future__ import annotations

import re
import string
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Running
from tests.api.test_policy_walk import ROUTES

pytestmark = pytest.mark.stack

JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def admin(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


BODIES = {
    "malformed": (b'{"title": ', 400, "malformed-json"),
    "empty": (b"", 400, "malformed-json"),
    "two values": (b'{"title":"a"} {}', 400, "malformed-json"),
    "NaN": (b'{"title": NaN}', 400, "malformed-json"),
    "infinite": (b'{"title": 1e999}', 400, "malformed-json"),
    "lone surrogate": (b'{"title": "\\ud800"}', 400, "malformed-json"),
    "invalid UTF-8": (b'{"title": "\xff\xfe"}', 400, "malformed-json"),
    "nested too deep for a parser": (b'{"title":' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "malformed-json"),
    "nested too deep for us": (b'{"title":' + b"[" * 40 + b"]" * 40 + b"}", 400, "unsupported-json"),
    "NUL": (b'{"title": "a\\u0000b"}', 400, "unsupported-json"),
    "NUL in a name": (b'{"a\\u0000b": 1}', 400, "unsupported-json"),
    "too large": (b'{"title": "' + b"x" * 100_000 + b'"}', 413, "body-too-large"),
    "not an object": (b"[1]", 422, "invalid-input"),
    "wrong type": (b'{"title": 7}', 422, "invalid-input"),
    "unknown member": (b'{"title": "a", "tenant_id": "rival"}', 422, "invalid-input"),
    "too long": (b'{"title": "' + b"x" * 501 + b'"}', 422, "invalid-input"),
    "unknown severity": (b'{"title": "a", "severity": "SEV-9"}', 422, "invalid-input"),
}


@pytest.mark.parametrize("name", BODIES)
def test_each_bad_body_has_its_answer(admin: httpx.Client, name: str) -> None:
    body, status, code = BODIES[name]
    response = admin.post("/api/v1/incidents", content=body, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == PROBLEM


def test_a_body_without_a_length_is_limited_too(admin: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 1000

    response = admin.post("/api/v1/incidents", content=chunks(), headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "body-too-large")


REQUESTS = {
    "wrong content type": (
        "POST",
        "/api/v1/incidents",
        {"content": b"{}", "headers": {"content-type": "text/xml"}},
        415,
    ),
    "no content type": ("POST", "/api/v1/incidents", {"content": b"{}"}, 415),
    "unknown parameter": ("GET", "/api/v1/incidents?tenant_id=rival", {}, 400),
    "bad limit": ("GET", "/api/v1/incidents?limit=0", {}, 422),
    "bad cursor": ("GET", "/api/v1/incidents?after=nonsense", {}, 400),
    "foreign cursor": ("GET", "/api/v1/alerts?after=WyJpbmNpZGVudHM6bmV3ZXN0IiwxXQ", {}, 400),
    "bad time": ("GET", "/api/v1/incidents?created_since=yesterday", {}, 422),
    "NUL in the query": ("GET", "/api/v1/incidents?service=%00", {}, 400),
    "not UTF-8 in the query": ("GET", "/api/v1/incidents?service=%ff", {}, 400),
    "NUL in the path": ("GET", "/api/v1/incidents/%00", {}, 400),
    "no such route": ("GET", "/api/v2/incidents", {}, 404),
    "wrong method": ("DELETE", "/api/v1/incidents", {}, 405),
    "no such operation": ("GET", f"/api/v1/operations/{uuid.UUID(int=0)}", {}, 404),
    "operation that is no id": ("GET", "/api/v1/operations/x", {}, 422),
    "key with a blank": (
        "POST",
        "/api/v1/incidents",
        {"json": {"title": "a"}, "headers": {"idempotency-key": "a b"}},
        422,
    ),
    "If-Match zero": (
        "POST",
        f"/api/v1/incidents/{uuid.UUID(int=0)}/state",
        {"json": {"to": "open"}, "headers": {"if-match": '"0"'}},
        412,
    ),
    "expired in the past": (
        "POST",
        "/api/v1/tokens",
        {"json": {"name": "n", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}},
        422,
    ),
    "no such token": ("DELETE", "/api/v1/tokens/nothing", {}, 404),
    "graphql that is no json": ("POST", "/graphql", {"content": b"{", "headers": JSON}, 400),
    "graphql with a lone surrogate": ("POST", "/graphql", {"content": b'{"query":"\\ud800"}', "headers": JSON}, 400),
    "graphql without a query": ("POST", "/graphql", {"json": {}}, 400),
    "graphql as text": ("POST", "/graphql", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_each_bad_request_has_its_answer(admin: httpx.Client, name: str) -> None:
    method, path, options, status = REQUESTS[name]
    response = admin.request(method, path, **options)  # type: ignore[arg-type]  # a table of options
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["status"] == status


@pytest.mark.parametrize(
    "header", ["", "Basic YTpi", "Bearer", "Bearer inc_x", "Bearer inc_" + "a" * 12 + "_" + "b" * 43]
)
def test_without_a_valid_token_nothing_is_answered(running: Running, header: str) -> None:
    for path in ("/api/v1/incidents", "/api/v1/events/stream", "/graphql?query={board{columns{status}}}"):
        response = httpx.get(running.url + path, headers={"Authorization": header})
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")


LIMITED = {
    "depth": "{ board { a " * 8 + "{ b }" + " } }" * 8,
    "aliases": "{ " + " ".join(f"a{n}: board {{ columns {{ status }} }}" for n in range(21)) + " }",
    "tokens": "{ " + "board { columns { status } } " * 400 + " }",
    "syntax": "{ board",
    "unknown field": "{ secrets }",
}


@pytest.mark.parametrize("name", LIMITED)
def test_graphql_documents_beyond_the_limits_are_refused(admin: httpx.Client, name: str) -> None:
    answer = admin.post("/graphql", json={"query": LIMITED[name]}).json()
    expected = {"depth": "maximum operation depth", "aliases": "aliases found", "tokens": "2000 tokens"}.get(name, "")
    assert any(expected in error["message"] for error in answer["errors"]), answer["errors"]
    assert not answer.get("data")


def test_the_ide_gets_its_whole_introspection(admin: httpx.Client) -> None:
    from graphql import get_introspection_query

    answer = admin.post("/graphql", json={"query": get_introspection_query()}).json()
    assert "errors" not in answer or not answer["errors"]
    page = admin.get("/graphql", headers={"Accept": "text/html", "Authorization": ""})
    assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")


def test_graphql_errors_carry_their_code_and_nothing_else(admin: httpx.Client) -> None:
    query = (
        'mutation { changeIncidentState(id: "INC-1", to: "nowhere") { __typename ... on CommandRefused { reason } } }'
    )
    admin.post("/api/v1/incidents", json={"title": "one at least"})
    refused = admin.post("/graphql", json={"query": query}).json()["data"]["changeIncidentState"]
    assert refused == {"__typename": "CommandRefused", "reason": "unknown-state"}
    wrong = admin.post("/graphql", json={"query": '{ incidents(after: "x") { nodes { id } } }'}).json()
    assert wrong["errors"][0]["extensions"]["code"] == "malformed-cursor"
    nul = admin.post(
        "/graphql", json={"query": 'mutation { declareIncident(title: "a\\u0000b") { __typename } }'}
    ).json()
    assert nul["errors"][0]["extensions"]["code"] == "unsupported-text"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
known_names = st.sampled_from(
    ["title", "severity", "to", "text", "into", "items", "actions", "name", "role", "overlap_s"]
)
bodies = st.dictionaries(known_names, json_values, max_size=5) | json_values
segments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda s: s not in {".", ".."}
)
parameters = st.dictionaries(
    st.sampled_from(["limit", "after", "status", "service", "types", "ids", "sort", "firing", "since"])
    | st.text(string.printable, max_size=5),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    max_size=3,
)
headers = st.dictionaries(
    st.sampled_from(["If-Match", "Idempotency-Key", "Last-Event-ID", "traceparent", "Accept"]),
    st.text(
        string.printable.replace("\r", "").replace("\n", "").replace("\x0b", "").replace("\x0c", ""), max_size=15
    ).map(str.strip),
    max_size=2,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ROUTES), segments, bodies, parameters, headers)
def test_nothing_gives_a_500(
    admin: httpx.Client,
    route: tuple[str, str],
    segment: str,
    body: object,
    query: dict[str, str],
    extra: dict[str, str],
) -> None:
    method, path = route
    url = re.sub(r"\{\w+\}", lambda _: quote(segment, safe=""), path)
    content = None if method in {"GET", "DELETE"} else _dumped(body)
    sent = {**JSON, **extra} if content is not None else extra
    with admin.stream(method, url, params=query, content=content, headers=sent) as response:
        assert response.status_code < 500, response.read()
        if response.is_error:
            assert response.headers["content-type"] == PROBLEM


def _dumped(body: object) -> bytes:
    import json

    try:
        return orjson.dumps(body)
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(body).encode()
