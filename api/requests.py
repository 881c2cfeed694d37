"""ASGI middleware that measures requests by route (never by path: ids would make a series each)."""

from __future__ import annotations

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.runtime import metrics


class Measured:
    """Observes how long each HTTP request took until its answer began; a stream counts with its first byte."""

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
