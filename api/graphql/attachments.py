"""Files and links of an incident, as GraphQL shows them; the bytes of a file are at its ``content``, over REST."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

import strawberry

from api.attachments import file_row_view
from api.graphql.paging import PageInfo, page_info
from projections.attachment_rows import FileRow, LinkRow


@strawberry.type(description="A file of an incident")
class Attachment:
    """``state`` is held, or left: then its bytes stayed at its ticket, and ``problem`` says why."""

    attachment_id: strawberry.ID
    incident_id: strawberry.ID
    file_name: str
    media_type: str
    size: float = strawberry.field(description="bytes; a whole number")
    sha256: str
    actor: str
    how: str = strawberry.field(description="uploaded, or from a ticket")
    via: str = strawberry.field(description="the integration that it came through")
    ticket_id: strawberry.ID | None
    external_id: str
    state: str
    problem: str
    added_at: datetime
    content: str | None = strawberry.field(description="where its bytes are; null where they are not here")

    @classmethod
    def of(cls, row: FileRow) -> Self:
        """The row as GraphQL shows it."""
        same = ("file_name", "media_type", "size", "sha256", "actor", "how", "via", "external_id", "state", "problem")
        values: dict[str, Any] = {name: getattr(row, name) for name in (*same, "added_at")}
        return cls(
            attachment_id=strawberry.ID(row.attachment_id),
            incident_id=strawberry.ID(row.incident_id),
            ticket_id=strawberry.ID(row.ticket_id) if row.ticket_id else None,
            content=file_row_view(row)["content"],
            **values,
        )


@strawberry.type(description="Files, the newest first")
class AttachmentConnection:
    """A page of files."""

    nodes: list[Attachment]
    page_info: PageInfo


@strawberry.type(description="A link of an incident")
class Link:
    """An address with a title."""

    link_id: strawberry.ID
    incident_id: strawberry.ID
    url: str
    title: str
    actor: str
    added_at: datetime

    @classmethod
    def of(cls, row: LinkRow) -> Self:
        """The row as GraphQL shows it."""
        values = {name: getattr(row, name) for name in ("url", "title", "actor", "added_at")}
        return cls(link_id=strawberry.ID(row.link_id), incident_id=strawberry.ID(row.incident_id), **values)


@strawberry.type(description="Links, the newest first")
class LinkConnection:
    """A page of links."""

    nodes: list[Link]
    page_info: PageInfo


def file_page(rows: Sequence[FileRow], cursor: str | None) -> AttachmentConnection:
    """A page of files."""
    return AttachmentConnection(nodes=[Attachment.of(row) for row in rows], page_info=page_info(cursor))


def link_page(rows: Sequence[LinkRow], cursor: str | None) -> LinkConnection:
    """A page of links."""
    return LinkConnection(nodes=[Link.of(row) for row in rows], page_info=page_info(cursor))
