"""Opaque cursors of keyset paging: where the page ended, for the listing it belongs to."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

from projections.queries.conditions import storable

_LONGEST = 4_096

Value = str | int


class BadCursor(ValueError):  # noqa: N818  reads as what is wrong, as the domain's errors do
    """A cursor that no answer of this product contained, or one of another listing."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The key of the last row of a page; ``listing`` names the listing and its order, e.g. ``incidents:newest``.

    It is validated, not signed: it only says where to go on, and what is there to be seen is up to row-level
    security and the filters of the request.
    """

    listing: str
    key: tuple[Value, ...]

    def encode(self) -> str:
        """URL-safe text without padding."""
        return base64.urlsafe_b64encode(orjson.dumps([self.listing, *self.key])).decode().rstrip("=")


def decode(text: str, listing: str, types: tuple[type, ...]) -> Cursor:
    """The cursor of a request; raises ``BadCursor`` unless it is one of the listing with a key of these types."""
    if len(text) > _LONGEST:
        raise BadCursor("cursor is too long")
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadCursor("cursor cannot be read") from error
    if not isinstance(found, list) or not found or found[0] != listing:
        raise BadCursor(f"cursor does not belong to {listing}")
    key = tuple(found[1:])
    if tuple(type(value) for value in key) != types or not all(map(_storable, key)):
        raise BadCursor(f"cursor does not fit {listing}")
    return Cursor(listing, key)


def _storable(value: Value) -> bool:
    """Whether PostgreSQL takes the value: a bigint, or text that it can hold."""
    return storable(value) if isinstance(value, str) else -(2**63) <= value < 2**63
