"""Errors over HTTP as problem details (RFC 9457): every refusal is one of these, with a code that clients may match."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from streams.domain.errors import Transient

MEDIA_TYPE = "application/problem+json"
_MIN_RETRY_AFTER_S = 1
_MAX_RETRY_AFTER_S = 60


class Problem(Exception):  # noqa: N818  RFC 9457's name
    """A refusal: HTTP status, stable ``code``, a title, a detail for people, and extension members.

    ``retry_after_s`` becomes the header ``Retry-After`` (RFC 9110 section 10.2.3).
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str = "",
        detail: str = "",
        *,
        retry_after_s: int = 0,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(f"{status} {code}: {detail or title}")
        self.status = status
        self.code = code
        self.title = title or HTTPStatus(status).phrase
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after_s:
            self.headers["Retry-After"] = str(retry_after_s)
        self.extensions = extensions

    def document(self) -> dict[str, Any]:
        """The members of the problem; ``type`` is relative to where the documentation stands."""
        members: dict[str, Any] = {
            "type": f"urn:incidents:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            members["detail"] = self.detail
        return {**self.extensions, **members}

    def response(self) -> Response:
        """The HTTP answer."""
        return Response(orjson.dumps(self.document()), self.status, self.headers, MEDIA_TYPE)


def unavailable(error: Transient) -> Problem:
    """503 with Retry-After: the one answer that every sender which retries at all honours (R1)."""
    wait = min(max(_MIN_RETRY_AFTER_S, math.ceil(error.retry_after_s)), _MAX_RETRY_AFTER_S)
    return Problem(503, "unavailable", detail="nothing was accepted; send it again", retry_after_s=wait)


async def handle_problem(request: Request, error: Exception) -> Response:
    """Exception handler for Starlette and FastAPI applications: ``{Problem: handle_problem}``."""
    del request
    if not isinstance(error, Problem):
        raise error
    return error.response()
