"""Files and links of an incident as the API takes and shows them; their bytes come from and go to object storage."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from api.dependencies import Api
from api.problems import Problem
from api.reads import MAX_PAGE, Reads
from policy.decision import Principal
from projections.attachment_rows import FileRow, LinkRow, to_file, to_link
from projections.base import instant, instant_or_none
from projections.incident_rows import IncidentRow
from streams.codec.plain import from_json
from streams.domain.attachment_commands import AttachFile
from streams.domain.attachment_events import AttachmentEvent
from streams.domain.attachment_history import FileHistory, LinkHistory, attachments
from streams.domain.attachments import media_type, safe_file_name
from streams.domain.catalogue import CATALOGUE
from streams.domain.envelope import Envelope
from streams.runtime.object_storage import StorageUnavailable, UnknownObject

_TYPES = tuple(spec.type for spec in CATALOGUE if issubclass(spec.data, AttachmentEvent))


async def stored(
    api: Api, principal: Principal, incident_id: str, file_name: str, content_type: str, content: bytes
) -> AttachFile:
    """The command that attaches a file, whose bytes are in object storage once this returns.

    Raises ``Problem`` 422 for an empty file or name, 503 when the bytes cannot be stored: then nothing was accepted.
    """
    name = safe_file_name(file_name)
    if not name:
        raise Problem(422, "invalid-input", "The input is not valid", "file_name: nothing is left of it as a name")
    if not content:
        raise Problem(422, "invalid-input", "The input is not valid", "the file is empty")
    try:
        digest = await api.attachments.put(principal.tenant_id, content)
    except StorageUnavailable as error:
        raise _unavailable("nothing was accepted; send it again with the same Idempotency-Key") from error
    return AttachFile(incident_id, name, media_type(content_type), len(content), digest, principal.actor)


async def download(api: Api, principal: Principal, incident: IncidentRow, attachment_id: str) -> Response:
    """The bytes of a file of an incident (or of what it was merged into), always as a download.

    Raises ``Problem``: 404 for a file that is not the incident's or stayed at its ticket, 410 for one that was removed
    or erased, 503 when object storage does not answer.
    """
    row = await api.reads.file(principal.tenant_id, attachment_id)
    if row is None or (row.incident_id != incident.incident_id and not incident.merged_into):
        raise Problem(404, "unknown-attachment", "Not found", f"INC-{incident.number} has no file {attachment_id[:60]}")
    if row.state == "removed":
        raise Problem(410, "removed", "The file was removed", f"by {row.removed_by}")
    if row.state == "left":
        raise Problem(404, "not-here", "The file stayed at its ticket", row.problem)
    try:
        content = await api.attachments.get(principal.tenant_id, row.sha256)
    except UnknownObject as error:
        raise Problem(410, "erased", "The file was erased", "its content is gone for good") from error
    except StorageUnavailable as error:
        raise _unavailable("the file could not be read; ask again") from error
    return Response(content, 200, _headers(row), row.media_type)


def _headers(row: FileRow) -> dict[str, str]:
    """Nothing of what somebody attached is ever shown by a browser as if it were ours (OWASP, file upload)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in row.file_name)
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(row.file_name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, no-cache",
        "ETag": f'"{row.sha256}"',
    }


def _unavailable(detail: str) -> Problem:
    return Problem(503, "storage-unavailable", "Object storage is unavailable", detail, retry_after_s=2)


async def attached_as_of(
    reads: Reads, tenant_id: str, incident_id: str, as_of: datetime
) -> tuple[list[FileHistory], list[LinkHistory]]:
    """The files and links that an incident had at an instant, from its own timeline, the newest first."""
    found: list[tuple[Envelope, object]] = []
    after: str | None = None
    while True:
        page, after = await reads.timeline(
            tenant_id, incident_id, types=_TYPES, after=after, limit=MAX_PAGE, as_of=as_of
        )
        found += [(event.envelope, from_json(event.type, event.data)) for event in page if event.data is not None]
        if after is None:
            break
    then = attachments(found)
    files = [one for one in then.files.values() if one.state != "removed"]
    links = [one for one in then.links.values() if one.state != "removed"]
    files.sort(key=lambda one: (one.added_at, one.attachment_id), reverse=True)
    links.sort(key=lambda one: (one.added_at, one.link_id), reverse=True)
    return files, links


def file_view(file: FileHistory) -> dict[str, Any]:
    """A file as REST shows it; ``content`` is where its bytes are, null where they are not here."""
    shown = {name: value for name, value in asdict(file).items() if name not in {"removed_by", "removed_at"}}
    path = f"/api/v1/incidents/{file.incident_id}/attachments/{file.attachment_id}"
    has_content = file.state == "held" and bool(file.sha256)
    return {**shown, "added_at": instant(file.added_at), "content": path if has_content else None}


def link_view(link: LinkHistory) -> dict[str, Any]:
    """A link as REST shows it."""
    shown = {name: value for name, value in asdict(link).items() if name not in {"removed_by", "removed_at", "state"}}
    return {**shown, "added_at": instant_or_none(link.added_at)}


def file_row_view(row: FileRow) -> dict[str, Any]:
    """A row as REST shows it."""
    return file_view(to_file(row))


def link_row_view(row: LinkRow) -> dict[str, Any]:
    """A row as REST shows it."""
    return link_view(to_link(row))
