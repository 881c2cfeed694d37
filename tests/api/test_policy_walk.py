"""Every way out asks the decision point: with one that refuses everything, nothing is answered (R10)."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

import httpx
import pytest
from fastapi.routing import APIRoute
from graphql import GraphQLField, GraphQLNonNull, GraphQLObjectType, get_named_type
from graphql.type.definition import GraphQLArgument, GraphQLEnumType, GraphQLInputObjectType, GraphQLList, GraphQLType
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition

from api.app import Backends, create_app
from api.graphql.schema import schema
from api.rest import ROUTERS
from api.settings import ApiSettings
from policy.decision import Action, Decision, Principal, Resource
from tests.api.conftest import Running, free_port, serving

PUBLIC = {"/health/live", "/health/ready", "/metrics"}
BODIES = {
    "/api/v1/incidents": {"title": "x"},
    "/api/v1/incidents/{incident_id}": {"title": "x"},
    "/api/v1/incidents/{incident_id}/state": {"to": "open"},
    "/api/v1/incidents/{incident_id}/assign": {"assignee": "ada"},
    "/api/v1/incidents/{incident_id}/severity": {"severity": "SEV-1"},
    "/api/v1/incidents/{incident_id}/notes": {"text": "x"},
    "/api/v1/incidents/{incident_id}/merge": {"into": "INC-1"},
    "/api/v1/incidents/{incident_id}/links": {"url": "https://a.example/"},
    "/api/v1/incidents/{incident_id}/tickets": {"integration_id": "i"},
    "/api/v1/incidents/{incident_id}/tickets/{ticket_id}/resolution": {"external_field": "state", "side": "ours"},
    "/api/v1/integrations/{integration_id}/mapping": {"mapping": {}},
    "/api/v1/integrations/{integration_id}": {"name": "x"},
    "/api/v1/sync/mapping/preview": {"mapping": {}, "record": {}},
    "/api/v1/alerts/lookup": {"items": [{"source": "s", "id": "i"}]},
    "/api/v1/subscriptions/{subscription_id}": {"connector": "c", "integration_id": "i", "actions": {}},
    "/api/v1/preferences": {},
    "/api/v1/rules": {"rules": "x"},
    "/api/v1/rules/{change}": {"name": "x", "version": 1},
    "/api/v1/what-ifs": {"rules": "x"},
    "/api/v1/tokens": {"name": "n", "role": "viewer"},
    "/api/v1/tokens/{token_id}/rotate": {},
}
ROUTES = [
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.path not in PUBLIC
    for method in sorted(route.methods or ())
]
INGEST = [("POST", "/api/v1/events"), ("POST", "/api/v1/events/preview")]


def refuse(principal: Principal, action: Action, resource: Resource) -> Decision:
    """A decision point that says no."""
    assert resource.tenant_id == principal.tenant_id
    return Decision(allowed=False, reason=f"no {action}")


@pytest.fixture(scope="module")
def refusing(backends: Backends, database_url: str) -> Iterator[httpx.Client]:
    """A client of an API that refuses everything, though its token is an administrator's."""
    with (
        serving(ApiSettings(port=free_port()), backends, refuse) as url,
        Running(url, database_url, backends).client() as client,
    ):
        yield client


@pytest.mark.stack
@pytest.mark.parametrize(("method", "path"), [*ROUTES, *INGEST])
def test_every_route_asks(refusing: httpx.Client, method: str, path: str) -> None:
    url = path.format(
        incident_id="0b9c7c5e-3f55-5a53-9c0f-7f1f5e6a1c11",
        subscription_id="s",
        token_id="t",
        change="promote",
        job_id="0b9c7c5e-3f55-5a53-9c0f-7f1f5e6a1c11",
        ticket_id="t",
        attachment_id="a",
        link_id="l",
        integration_id="i",
        command_id="0b9c7c5e-3f55-5a53-9c0f-7f1f5e6a1c11",
    )
    body = BODIES.get(path, {}) if method != "GET" else None
    response = refusing.request(method, url, json=body)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert httpx.request(method, f"{refusing.base_url}{url}", json=body).status_code == 401


@pytest.mark.stack
def test_no_route_is_served_that_this_walk_does_not_know(backends: Backends) -> None:
    paths = set(create_app(ApiSettings(), backends).openapi()["paths"])
    assert paths <= {path for _, path in [*ROUTES, *INGEST]} | PUBLIC | {
        "/api/v1/webhooks/{connector}/{integration_id}"  # these carry their provider's signature instead of a token
    }


def _value(type_: GraphQLType) -> str:
    if isinstance(type_, GraphQLNonNull):
        return _value(type_.of_type)
    if isinstance(type_, GraphQLList):
        return "[]"
    if isinstance(type_, GraphQLInputObjectType):
        return "{}"
    if isinstance(type_, GraphQLEnumType):
        return str(next(iter(type_.values)))
    return {"Int": "1", "Boolean": "true"}.get(str(type_), '"x"')


def _arguments(arguments: dict[str, GraphQLArgument]) -> str:
    given = ", ".join(
        f"{name}: {_value(a.type)}" for name, a in arguments.items() if isinstance(a.type, GraphQLNonNull)
    )
    return f"({given})" if given else ""


def _operation(kind: str, name: str, field: GraphQLField) -> str:
    selection = " { __typename }" if isinstance(get_named_type(field.type), GraphQLObjectType) else ""
    selection = selection or (" { __typename }" if str(get_named_type(field.type)) == "CommandPayload" else "")
    return f"{kind} {{ {name}{_arguments(field.args)}{selection} }}"


def _roots() -> list[str]:
    inner = schema._schema
    found = []
    for kind, root in (("query", inner.query_type), ("mutation", inner.mutation_type)):
        assert root is not None
        found += [_operation(kind, name, field) for name, field in root.fields.items()]
    return found


def _subscriptions() -> list[str]:
    root = schema._schema.subscription_type
    assert root is not None
    return [_operation("subscription", name, field) for name, field in root.fields.items()]


@pytest.mark.stack
@pytest.mark.parametrize("operation", _roots())
def test_every_graphql_field_asks(refusing: httpx.Client, operation: str) -> None:
    answer = refusing.post("/graphql", json={"query": operation}).json()
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["forbidden"]
    assert not any((answer["data"] or {}).values())


@pytest.mark.stack
@pytest.mark.parametrize("operation", _subscriptions())
def test_every_subscription_asks(refusing: httpx.Client, operation: str) -> None:
    headers = {"Accept": "text/event-stream"}
    with refusing.stream("POST", "/graphql", json={"query": operation}, headers=headers) as response:
        text = "".join(response.iter_text())
    assert '"code":"forbidden"' in text.replace(" ", "")


def _objects() -> Iterator[StrawberryObjectDefinition]:
    """Every object type below the roots."""
    inner = schema._schema
    roots = {inner.query_type, inner.mutation_type, inner.subscription_type}
    for type_ in inner.type_map.values():
        if isinstance(type_, GraphQLObjectType) and type_ not in roots and not type_.name.startswith("__"):
            definition = type_.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
            assert isinstance(definition, StrawberryObjectDefinition)
            yield definition


def test_fields_below_the_roots_that_read_also_ask() -> None:
    """Fields of objects with a resolver of their own: the walk cannot reach them, so their code is looked at."""
    found = {
        f"{definition.name}.{field.python_name}": field.base_resolver.wrapped_func
        for definition in _objects()
        for field in definition.fields
        if field.base_resolver is not None
    }
    assert {"Incident.timeline", "Incident.alerts"} <= found.keys()
    for resolver in found.values():
        assert isinstance(resolver, FunctionType)
        assert "ask" in resolver.__code__.co_names
