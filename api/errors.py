"""Every error of the application as a problem detail: those of routing, of validation, and a database that is down."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.auth import Unavailable
from api.problems import Problem, handle_problem
from projections.connections import TooPowerfulRole

_log = structlog.get_logger(__name__)


def database_unavailable(detail: str) -> Problem:
    """The answer of what needs the database while it is down."""
    return Problem(503, "database-unavailable", "The database is unavailable", detail[:200], retry_after_s=2)


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem detail."""
    app.add_exception_handler(Problem, handle_problem)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(TooPowerfulRole, _too_powerful)


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


async def _unavailable(_request: Request, error: Exception) -> Response:
    return database_unavailable(str(error)).response()


async def _too_powerful(_request: Request, error: Exception) -> Response:
    _log.error("the API refuses to work with this role", error=str(error))
    return Problem(503, "misconfigured", "The API is not set up safely", "see its log", retry_after_s=60).response()
