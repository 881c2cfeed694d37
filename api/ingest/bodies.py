"""Request bodies, bounded and strict."""

from __future__ import annotations

from typing import Any, Final

import orjson
from starlette.requests import ClientDisconnect, Request

from api.problems import Problem

MAX_DEPTH: Final = 64


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to be above ``limit`` bytes, before it is read where it says so."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise Problem(400, "incomplete-body", detail="the connection ended before the body did") from error
    return b"".join(chunks)


def _too_large(limit: int) -> Problem:
    return Problem(413, "body-too-large", detail=f"a body may have {limit} bytes", headers={"Connection": "close"})


def strict_json(body: bytes) -> Any:
    """A body as JSON (RFC 8259): UTF-8, no NaN or Infinity, no lone surrogates, at most ``MAX_DEPTH`` levels; 400.

    Of members with the same name the last one counts, as everywhere.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "malformed-json", detail=str(error)[:200]) from error
    # Every level needs a bracket of its own, so most bodies need no walk.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(document, MAX_DEPTH):
        raise Problem(400, "malformed-json", detail=f"nested deeper than {MAX_DEPTH} levels")
    return document


def _deeper_than(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
