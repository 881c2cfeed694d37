"""Files and links of incidents: what commands about them, and merges, record."""

from __future__ import annotations

import re
from typing import assert_never

from streams.domain.attachment_commands import AddLink, AttachFile, AttachmentCommand, RemoveAttachment, RemoveLink
from streams.domain.attachment_events import AttachmentAdded, AttachmentRemoved, LinkAdded, LinkRemoved
from streams.domain.attachments import (
    MAX_FILES,
    MAX_LINKS,
    Attached,
    attachment_id,
    is_sha256,
    media_type,
    refused_link,
)
from streams.domain.envelope import derive_id
from streams.domain.erasing import ERASED
from streams.domain.errors import Reason, Rejected
from streams.domain.incident import Incident
from streams.domain.incident_decisions import MAX_TITLE, check_length
from streams.domain.recording import Recorder
from streams.domain.state import TenantState

_NONE = Attached()
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")


def attached_to(state: TenantState, incident_id: str) -> Attached:
    """The files and links of an incident."""
    return state.attached.get(incident_id) or _NONE


def carry_out(state: TenantState, incident: Incident, command: AttachmentCommand, recorder: Recorder) -> None:
    """Record what a command asks for; nothing where it is so already. Raises ``Rejected``."""
    if incident.merged_into:
        raise Rejected(Reason.MERGED_INCIDENT, f"merged into {incident.merged_into}")
    held = attached_to(state, incident.id)
    match command:
        case AttachFile():
            _attach(held, incident, command, recorder)
        case RemoveAttachment(_, gone, actor):
            if not any(one.attachment_id == gone for one in held.files):
                raise Rejected(Reason.UNKNOWN_ATTACHMENT, f"the incident has no file {gone}")
            recorder.record(incident.id, AttachmentRemoved(gone, actor))
        case AddLink():
            _add_link(held, incident, command, recorder)
        case RemoveLink(_, gone, actor):
            if not any(one.link_id == gone for one in held.links):
                raise Rejected(Reason.UNKNOWN_LINK, f"the incident has no link {gone}")
            recorder.record(incident.id, LinkRemoved(gone, actor))
        case _:
            assert_never(command)


def _attach(held: Attached, incident: Incident, command: AttachFile, recorder: Recorder) -> None:
    _check_file(command)
    if len(held.files) >= MAX_FILES:
        raise Rejected(Reason.TOO_MANY, f"an incident has at most {MAX_FILES} files")
    event = AttachmentAdded(
        attachment_id(incident.id, recorder.message.envelope.id),
        command.file_name,
        command.media_type,
        command.size,
        command.sha256,
        command.actor,
    )
    recorder.record(incident.id, event)


def _check_file(command: AttachFile) -> None:
    """Nothing here depends on what an erasure takes away: what is left of the command must be decided alike."""
    check_length("file_name", command.file_name, MAX_TITLE)
    if not command.file_name or _NO_NAME.search(command.file_name):
        raise Rejected(Reason.INVALID_FILE, "the name of a file is not empty and holds neither folders nor controls")
    if media_type(command.media_type) != command.media_type:
        raise Rejected(Reason.INVALID_FILE, f"{command.media_type[:80]!r} is no media type")
    if command.size <= 0:
        raise Rejected(Reason.INVALID_FILE, "the file is empty")
    if not is_sha256(command.sha256) and (command.sha256 or command.file_name != ERASED):
        raise Rejected(Reason.INVALID_FILE, "the digest is none")


def _add_link(held: Attached, incident: Incident, command: AddLink, recorder: Recorder) -> None:
    if why := refused_link(command.url):
        raise Rejected(Reason.INVALID_LINK, why)
    check_length("title", command.title, MAX_TITLE)
    title = " ".join(command.title.split()) or command.url[:MAX_TITLE]
    known = next((one for one in held.links if one.url == command.url), None)
    if known is not None and known.title == title:
        return
    if known is None and len(held.links) >= MAX_LINKS:
        raise Rejected(Reason.TOO_MANY, f"an incident has at most {MAX_LINKS} links")
    link_id = known.link_id if known else derive_id(incident.id, recorder.message.envelope.id, "link")
    added_at = known.added_at if known else 0
    recorder.record(incident.id, LinkAdded(link_id, command.url, title, command.actor, added_at=added_at))


def inherit(state: TenantState, source: Incident, target: Incident, recorder: Recorder) -> None:
    """After a merge the source's files are the target's, and its links but for those that the target has already."""
    brought, held = attached_to(state, source.id), attached_to(state, target.id)
    for file in brought.files:
        event = AttachmentAdded(
            file.attachment_id, file.file_name, file.media_type, file.size, file.sha256, file.actor, file.how,
            file.via, file.ticket_id, file.external_id, file.problem, source.id, file.added_at,
        )  # fmt: skip
        recorder.record(target.id, event)
    known = {one.url for one in held.links}
    for link in brought.links:
        if link.url not in known:
            event_ = LinkAdded(link.link_id, link.url, link.title, link.actor, source.id, link.added_at)
            recorder.record(target.id, event_)
