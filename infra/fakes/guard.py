"""What stands before every endpoint of a fake: counting, refusals, and the faults that it was told to have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from infra.fakes.faults import Faults

Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):  # noqa: N818  an answer, not an accident
    """An answer other than success: its status, the provider's own error document, and headers."""

    def __init__(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {document}")
        self.status = status
        self.document = document
        self.headers = dict(headers or {})


class Dropped(Response):
    """No answer: the connection closes in the middle of one, as if the server had died after the work was done."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce a body and never send it; the server then closes the connection."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})


class Guard:
    """Wraps endpoints. ``count`` is told the kind of each call; ``error`` makes the body of a fault's status."""

    def __init__(self, count: Callable[[str], None], error: Callable[[int], Any]) -> None:
        self._count = count
        self._error = error
        self.faults = Faults()

    def guarded(self, call: str, check: Callable[[Request], None], endpoint: Endpoint) -> Endpoint:
        """The endpoint behind ``check``, which raises ``Refused``."""

        async def answer(request: Request) -> Response:
            self._count(call)
            fault = self.faults.next(call)
            try:
                check(request)
                if fault is not None and fault.kind == "status":
                    response: Response = JSONResponse(self._error(fault.status), fault.status, dict(fault.headers))
                else:
                    response = await endpoint(request)
            except Refused as error:
                response = JSONResponse(error.document, error.status, error.headers)
            if fault is not None and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            return response if fault is None or fault.kind != "drop_after" else Dropped()

        return answer


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; raises ``Refused`` 400 for a body that is no JSON."""
    try:
        document = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise Refused(400, {"error": "the body is no JSON"}) from error
    return document if isinstance(document, dict) else {}
