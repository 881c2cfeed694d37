"""The endpoints by which tests and demos steer a ticket fake, beside those of the provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.fakes.guard import Guard, json_object
from infra.fakes.webhooks import Webhooks


def routes(guard: Guard, webhooks: Webhooks, effects: Callable[[], dict[str, Any]]) -> list[Route]:
    """``/_effects``, ``/_faults``, ``/_webhook`` (where to send them) and ``/_webhook_faults``."""

    async def show(request: Request) -> Response:
        del request
        return JSONResponse(effects())

    async def add_faults(request: Request) -> Response:
        return JSONResponse({"queued": guard.faults.add(await json_object(request))})

    async def set_target(request: Request) -> Response:
        webhooks.target(await json_object(request))
        return Response(status_code=204)

    async def add_webhook_faults(request: Request) -> Response:
        return JSONResponse({"queued": webhooks.add_faults(await json_object(request))})

    return [
        Route("/_effects", show),
        Route("/_faults", add_faults, methods=["POST"]),
        Route("/_webhook", set_target, methods=["POST"]),
        Route("/_webhook_faults", add_webhook_faults, methods=["POST"]),
    ]
