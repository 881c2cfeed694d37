"""The ingest endpoints as plain Starlette routes, and the door that takes webhooks to theirs past everything else.

No model, no dependency injection and no search through the application's routes on the way of a webhook: routing, exit
stacks and telemetry of the framework take longer than to verify, parse and write one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.ingest import events, webhooks
from api.ingest.dependencies import IngestDependencies
from api.problems import Problem
from connectors.registry import CONNECTORS
from streams.runtime.metrics import INGEST_REQUESTS, INGEST_SECONDS

_WEBHOOKS = "/api/v1/webhooks/"

Endpoint = Callable[[IngestDependencies, Request], Awaitable[Response]]


def routes(dependencies: IngestDependencies) -> list[Route]:
    """Webhooks, CloudEvents and the mapping preview; they answer problems themselves, wherever they are mounted."""
    return [
        _post(_WEBHOOKS + "{connector}/{integration_id}", webhooks.receive, dependencies),
        _post("/api/v1/events", events.receive, dependencies),
        _post("/api/v1/events/preview", events.preview_mapping, dependencies),
    ]


class Door:
    """ASGI middleware that takes webhooks straight to their endpoint and passes all else on.

    The endpoint is the first of ``app.state.ingest_routes``: there is none before the application has started. It
    answers its problems itself, so nothing is missed of what lies between here and the application's routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to where it belongs."""
        if scope["type"] == "http" and scope["path"].startswith(_WEBHOOKS):
            for route in getattr(scope["app"].state, "ingest_routes", ())[:1]:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found, route=route)
                    await route.handle(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _post(path: str, endpoint: Endpoint, dependencies: IngestDependencies) -> Route:
    return Route(path, _Answering(endpoint, dependencies), methods=["POST"], name=endpoint.__module__)


class _Answering:
    """An endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, dependencies: IngestDependencies) -> None:
        self._endpoint = endpoint
        self._dependencies = dependencies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await _answer(self._endpoint, self._dependencies, Request(scope, receive))
        await response(scope, receive, send)


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
