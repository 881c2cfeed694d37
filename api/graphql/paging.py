"""Cursor connections: their arguments, and where a page ends."""

from __future__ import annotations

from typing import Annotated

import strawberry

First = Annotated[int, strawberry.argument(description="how many, from 1 to 200")]
After = Annotated[str | None, strawberry.argument(description="a cursor from an earlier answer")]


@strawberry.type(description="Where a page ends, and whether there is more")
class PageInfo:
    """Cursor connections, as Relay names them."""

    end_cursor: str | None
    has_next_page: bool


def page_info(cursor: str | None) -> PageInfo:
    """Where a page ends; there is more exactly when there is a cursor."""
    return PageInfo(end_cursor=cursor, has_next_page=cursor is not None)
