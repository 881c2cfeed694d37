"""Files and links of an incident, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from psycopg import sql
from psycopg.rows import class_row

from projections.attachment_rows import FILE_COLUMNS, LINK_COLUMNS, FileRow, LinkRow
from projections.base import instant, milliseconds
from projections.connections import AsyncConnection
from projections.queries import cursors
from projections.queries.conditions import Conditions
from projections.queries.cursors import Cursor

_FILES, _LINKS = "attachments:newest", "links:newest"
_KEY = (int, str)
_SELECT_FILES = sql.SQL("SELECT {} FROM read.attachments").format(sql.SQL(", ").join(map(sql.Identifier, FILE_COLUMNS)))
_SELECT_LINKS = sql.SQL("SELECT {} FROM read.links").format(sql.SQL(", ").join(map(sql.Identifier, LINK_COLUMNS)))


def parse_file_cursor(text: str) -> Cursor:
    """The cursor of a request for ``list_files``; raises ``BadCursor``."""
    return cursors.decode(text, _FILES, _KEY)


def file_cursor_after(row: FileRow) -> Cursor:
    """Where the page after this file begins."""
    return Cursor(_FILES, (milliseconds(row.added_at), row.attachment_id))


def parse_link_cursor(text: str) -> Cursor:
    """The cursor of a request for ``list_links``; raises ``BadCursor``."""
    return cursors.decode(text, _LINKS, _KEY)


def link_cursor_after(row: LinkRow) -> Cursor:
    """Where the page after this link begins."""
    return Cursor(_LINKS, (milliseconds(row.added_at), row.link_id))


async def list_files(
    connection: AsyncConnection, incident_id: str, after: Cursor | None = None, limit: int = 50
) -> Sequence[FileRow]:
    """At most ``limit`` files of an incident behind ``after``, without those that were removed; ``BadCursor``."""
    conditions = _page(incident_id, "attachment_id", _FILES, after)
    query = _SELECT_FILES + conditions.where() + sql.SQL(" ORDER BY added_at DESC, attachment_id DESC LIMIT %s")
    async with connection.cursor(row_factory=class_row(FileRow)) as cursor:
        await cursor.execute(query, [*conditions.values, limit])
        return await cursor.fetchall()


async def list_links(
    connection: AsyncConnection, incident_id: str, after: Cursor | None = None, limit: int = 50
) -> Sequence[LinkRow]:
    """At most ``limit`` links of an incident behind ``after``, without those that were removed; ``BadCursor``."""
    conditions = _page(incident_id, "link_id", _LINKS, after)
    query = _SELECT_LINKS + conditions.where() + sql.SQL(" ORDER BY added_at DESC, link_id DESC LIMIT %s")
    async with connection.cursor(row_factory=class_row(LinkRow)) as cursor:
        await cursor.execute(query, [*conditions.values, limit])
        return await cursor.fetchall()


async def get_file(connection: AsyncConnection, attachment_id: str) -> FileRow | None:
    """A file of the tenant, also one that was removed."""
    async with connection.cursor(row_factory=class_row(FileRow)) as cursor:
        await cursor.execute(_SELECT_FILES + sql.SQL(" WHERE attachment_id = %s"), [attachment_id])
        return await cursor.fetchone()


async def find_link(connection: AsyncConnection, incident_id: str, url: str) -> LinkRow | None:
    """The incident's link to an address."""
    conditions = _page(incident_id, "link_id", _LINKS, None)
    conditions.equal(url=url)
    async with connection.cursor(row_factory=class_row(LinkRow)) as cursor:
        await cursor.execute(_SELECT_LINKS + conditions.where(), conditions.values)
        return await cursor.fetchone()


def _page(incident_id: str, id_: LiteralString, listing: str, after: Cursor | None) -> Conditions:
    conditions = Conditions()
    conditions.equal(incident_id=incident_id)
    conditions.add("state <> 'removed'")
    if after is not None:
        at, last = cursors.decode(after.encode(), listing, _KEY).key
        assert isinstance(at, int), "decode checked the types"
        conditions.add("(added_at, " + id_ + ") < (%s, %s)", instant(at), last)
    return conditions
