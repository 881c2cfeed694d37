"""The ingest endpoints as plain Starlette routes: no model, no dependency injection on the way of a webhook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.ingest import events, webhooks
from api.ingest.dependencies import IngestDependencies
from api.problems import Problem
from connectors.registry import CONNECTORS
from streams.runtime.metrics import INGEST_REQUESTS, INGEST_SECONDS

Endpoint = Callable[[IngestDependencies, Request], Awaitable[Response]]


def routes(dependencies: IngestDependencies) -> list[Route]:
    """Webhooks, CloudEvents and the mapping preview; they answer problems themselves, wherever they are mounted."""
    return [
        _post("/api/v1/webhooks/{connector}/{integration_id}", webhooks.receive, dependencies),
        _post("/api/v1/events", events.receive, dependencies),
        _post("/api/v1/events/preview", events.preview_mapping, dependencies),
    ]


def _post(path: str, endpoint: Endpoint, dependencies: IngestDependencies) -> Route:
    return Route(path, partial(_answer, endpoint, dependencies), methods=["POST"], name=endpoint.__module__)


async def _answer(endpoint: Endpoint, dependencies: IngestDependencies, request: Request) -> Response:
    connector = request.path_params.get("connector", events.CONNECTOR)
    label = connector if connector in CONNECTORS else "unknown"
    started = perf_counter()
    try:
        response = await endpoint(dependencies, request)
    except Problem as problem:
        response = problem.response()
    INGEST_REQUESTS.labels(label, str(response.status_code)).inc()
    INGEST_SECONDS.observe(perf_counter() - started)
    return response
