"""Every error of the HTTP API as a problem detail (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  named as in RFC 9457
    """An answer that is an error: ``code`` is stable and for programs, ``detail`` is for people.

    ``headers`` go with the answer (e.g. ``Retry-After``), ``extensions`` become members of the problem document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(f"{status} {code}: {detail or title}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    def document(self) -> dict[str, Any]:
        """The problem document."""
        document = {"type": f"urn:incidents:problem:{self.code}", "title": self.title, "status": self.status}
        if self.detail:
            document["detail"] = self.detail
        return {**document, "code": self.code, **self.extensions}

    def response(self) -> Response:
        """The problem as an HTTP answer."""
        return Response(
            orjson.dumps(self.document()), self.status, headers=self.headers, media_type=CONTENT_TYPE
        )


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem detail, those of routing and validation too."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "-")
    detail = "" if error.detail == status.phrase else str(error.detail)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED} and not detail:
        detail = f"{request.method} {request.url.path}"
    return Problem(status, code, status.phrase, detail, headers=error.headers).response()


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"location": ".".join(str(part) for part in found["loc"]), "message": found["msg"]} for found in error.errors()
    ]
    detail = "; ".join(f"{found['location']}: {found['message']}" for found in errors[:3])
    return Problem(422, "invalid-input", "The input is not valid", detail, errors=errors).response()
