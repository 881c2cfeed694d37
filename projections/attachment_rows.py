"""Files and links to rows and back, through the domain's own fold (``attachment_history``): pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from projections.base import Record, instant, instant_or_none, milliseconds
from streams.domain.attachment_history import FileHistory, LinkHistory

_PLACE: Final = {"tenantsequence": "int8", "event_id": "text", "topic_partition": "int4", "topic_offset": "int8"}

FILE_COLUMNS: Final = {
    "tenant_id": "text",
    "attachment_id": "text",
    "incident_id": "text",
    "file_name": "text",
    "media_type": "text",
    "size": "int8",
    "sha256": "text",
    "actor": "text",
    "how": "text",
    "via": "text",
    "ticket_id": "text",
    "external_id": "text",
    "problem": "text",
    "added_at": "timestamptz",
    "state": "text",
    "removed_by": "text",
    "removed_at": "timestamptz",
    **_PLACE,
}

LINK_COLUMNS: Final = {
    "tenant_id": "text",
    "link_id": "text",
    "incident_id": "text",
    "url": "text",
    "title": "text",
    "actor": "text",
    "added_at": "timestamptz",
    "state": "text",
    "removed_by": "text",
    "removed_at": "timestamptz",
    **_PLACE,
}


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of ``read.attachments``; ``tenantsequence`` is that of the last event in it."""

    tenant_id: str
    attachment_id: str
    incident_id: str
    file_name: str
    media_type: str
    size: int
    sha256: str
    actor: str
    how: str
    via: str
    ticket_id: str
    external_id: str
    problem: str
    added_at: datetime
    state: str
    removed_by: str
    removed_at: datetime | None
    tenantsequence: int
    event_id: str
    topic_partition: int
    topic_offset: int


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One row of ``read.links``; ``tenantsequence`` is that of the last event in it."""

    tenant_id: str
    link_id: str
    incident_id: str
    url: str
    title: str
    actor: str
    added_at: datetime
    state: str
    removed_by: str
    removed_at: datetime | None
    tenantsequence: int
    event_id: str
    topic_partition: int
    topic_offset: int


def to_file(row: FileRow) -> FileHistory:
    """The file as the domain folds it."""
    return FileHistory(**_given(row))


def to_link(row: LinkRow) -> LinkHistory:
    """The link as the domain folds it."""
    return LinkHistory(**_given(row))


def _given(row: FileRow | LinkRow) -> dict[str, Any]:
    values = asdict(row)
    times = {"added_at": milliseconds(row.added_at), "removed_at": milliseconds(row.removed_at)}
    return {name: value for name, value in values.items() if name != "tenant_id" and name not in _PLACE} | times


def stored(found: FileHistory | LinkHistory, last: Record) -> tuple[Any, ...]:
    """A row in the order of its columns, as COPY takes it; ``last`` is the last event in it."""
    place = {
        "tenant_id": last.envelope.tenantid,
        "tenantsequence": last.envelope.tenantsequence,
        "event_id": last.envelope.id,
        "topic_partition": last.partition,
        "topic_offset": last.offset,
    }
    times = {"added_at": instant(found.added_at), "removed_at": instant_or_none(found.removed_at)}
    values = {**asdict(found), **times, **place}
    columns = FILE_COLUMNS if isinstance(found, FileHistory) else LINK_COLUMNS
    return tuple(values[name] for name in columns)
