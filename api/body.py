"""Reading request bodies strictly: what JSON parsers disagree about, or PostgreSQL cannot store, is refused here."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem

MAX_DEPTH = 32
"""How deep a JSON document may be nested; no request of the API needs more than four levels."""


def parse_json(body: bytes) -> Any:
    """The JSON value of a request body.

    Raises ``Problem`` 400 for what is no JSON (RFC 8259): also NaN, lone surrogates, invalid UTF-8 and repeated
    closing; and for nesting beyond ``MAX_DEPTH`` and NUL characters, which PostgreSQL cannot store.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "malformed-json", "The body is not valid JSON", str(error)) from error
    if not _is_storable(value, MAX_DEPTH):
        raise Problem(400, "unsupported-json", "The body cannot be kept", "a NUL character, or nested too deep")
    return value


def _is_storable(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, dict):
        return depth > 0 and all("\0" not in key and _is_storable(item, depth - 1) for key, item in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_storable(item, depth - 1) for item in value)
    return True


class ParsedRequest(Request):
    """A request whose JSON body has been read, so that FastAPI does not read it its own, laxer way."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body
        self._value = parse_json(body)

    async def body(self) -> bytes:
        """The body as it came."""
        return self._read

    async def json(self) -> Any:
        """The body's value."""
        return self._value


class StrictRoute(APIRoute):
    """A route that takes only ``application/json`` bodies, strictly read, and only query parameters that it knows."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with the checks before it."""
        handle = super().get_route_handler()
        known = frozenset(_query_names(self.dependant))
        takes_body = self.body_field is not None

        async def strict(request: Request) -> Response:
            _check_text(request.path_params.values(), "the path")
            if request.scope["query_string"]:
                _check_query(request, known)
            if takes_body:
                content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
                if content_type != "application/json":
                    detail = f"send application/json, not {content_type or 'an unnamed type'}"
                    raise Problem(415, "unsupported-media-type", "Unsupported media type", detail)
                request = ParsedRequest(request, await request.body())
            return await handle(request)

        return strict


def _query_names(dependant: Any) -> list[str]:
    names: list[str] = []
    for field in dependant.query_params:
        model = field.field_info.annotation
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        names += list(model.model_fields) if is_model else [field.alias]
    return names + [name for child in dependant.dependencies for name in _query_names(child)]


def _check_text(values: Any, where: str) -> None:
    for value in values:
        if isinstance(value, str) and ("\0" in value or not _is_unicode(value)):
            raise Problem(400, "unsupported-text", f"{where} holds a NUL or is not UTF-8".capitalize())


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\ufffd" not in value


def _check_query(request: Request, known: frozenset[str]) -> None:
    parameters = request.query_params
    unknown = sorted(set(parameters) - known)
    if unknown:
        detail = f"{', '.join(unknown)[:200]}; known here: {', '.join(sorted(known)) or 'none'}"
        raise Problem(400, "unknown-parameter", "Unknown query parameter", detail)
    _check_text((value for _, value in parameters.multi_items()), "the query")


_UPLOAD = re.compile(r"/api/v1/incidents/[^/]+/attachments")


class BodyLimit:
    """ASGI middleware: a body longer than the limit is answered 413 before anything reads it whole.

    ``limit`` is in bytes, ``upload_limit`` that of an attached file.
    """

    def __init__(self, app: ASGIApp, limit: int, upload_limit: int) -> None:
        self._app = app
        self._limit = limit
        self._upload_limit = upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body that counts itself."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        limit = self._upload_limit if _UPLOAD.fullmatch(scope["path"]) else self._limit
        problem = Problem(413, "body-too-large", "The body is too large", f"at most {limit} bytes")
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if length.isdigit() and int(length) > limit:
            await problem.response()(scope, receive, send)
            return
        left = limit

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise problem
            return message

        await self._app(scope, counted, send)
