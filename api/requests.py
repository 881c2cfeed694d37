"""ASGI middleware around every request: how long it took, and an answer where the server had to end it."""

from __future__ import annotations

import asyncio
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem
from streams.runtime import metrics


class Answered:
    """Answers 503 where the server cancels a request because its time to stop is over: uvicorn would answer 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if begun:
                raise
            detail = "nothing is promised; send it again, a command with the same Idempotency-Key"
            problem = Problem(503, "stopping", "The server stops", detail, retry_after_s=1)
            await problem.response()(scope, receive, send)


class Measured:
    """Observes how long each HTTP request took until its answer began; a stream counts with its first byte.

    By route, never by path: ids would make a series each.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = perf_counter()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "unknown")
                labels = metrics.API_REQUEST_SECONDS.labels(path, scope["method"], message["status"])
                labels.observe(perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, observed)
