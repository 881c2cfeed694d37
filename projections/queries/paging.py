"""Opaque cursors of keyset paging: the last row's sort key."""

from __future__ import annotations

import base64
import binascii

import orjson


class MalformedCursor(ValueError):
    """The cursor is not one that a page gave."""


def encode(*key: str | int) -> str:
    """The cursor behind a row with this sort key."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode(cursor: str, *types: type) -> list[str | int]:
    """The sort key of a cursor; raises ``MalformedCursor``."""
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise MalformedCursor(cursor) from error
    if not isinstance(key, list) or [type(part) for part in key] != list(types):
        raise MalformedCursor(cursor)
    return key
