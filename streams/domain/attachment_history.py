"""A tenant's files and links as the record tells of them: a fold of events, for read models and as-of reads alike.

Times are recorded ones, in milliseconds (0: never).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, assert_never

from streams.domain.attachment_events import (
    AttachmentAdded,
    AttachmentEvent,
    AttachmentRemoved,
    HowAttached,
    LinkAdded,
    LinkRemoved,
)
from streams.domain.envelope import Envelope

FileState = Literal["held", "left", "removed"]
"""``held``: its bytes are here; ``left``: they stayed at the ticket that it came from; ``removed``: taken away."""

LinkState = Literal["there", "removed"]


@dataclass(slots=True)
class FileHistory:
    """One file; ``incident_id`` is the incident that has it, after a merge the one that is left."""

    attachment_id: str
    incident_id: str
    file_name: str
    media_type: str
    size: int
    sha256: str
    actor: str
    how: HowAttached
    via: str
    ticket_id: str
    external_id: str
    problem: str
    added_at: int
    state: FileState
    removed_by: str = ""
    removed_at: int = 0


@dataclass(slots=True)
class LinkHistory:
    """One link; ``incident_id`` as of files."""

    link_id: str
    incident_id: str
    url: str
    title: str
    actor: str
    added_at: int
    state: LinkState = "there"
    removed_by: str = ""
    removed_at: int = 0


@dataclass(slots=True)
class AttachmentHistory:
    """The files and links of one tenant, by their ids."""

    files: dict[str, FileHistory] = field(default_factory=dict)
    links: dict[str, LinkHistory] = field(default_factory=dict)

    def take(self, envelope: Envelope, event: AttachmentEvent) -> None:
        """Take in the next event; one about something that is not known changes nothing."""
        at = envelope.recordedtime
        match event:
            case AttachmentAdded():
                self.files[event.attachment_id] = _file(envelope.subject, event, at)
            case AttachmentRemoved(attachment_id, actor):
                file = self.files.get(attachment_id)
                if file is not None:
                    file.state, file.removed_by, file.removed_at = "removed", actor, at
            case LinkAdded(link_id, url, title, actor, _, added_at):
                self.links[link_id] = LinkHistory(link_id, envelope.subject, url, title, actor, added_at or at)
            case LinkRemoved(link_id, actor):
                link = self.links.get(link_id)
                if link is not None:
                    link.state, link.removed_by, link.removed_at = "removed", actor, at
            case _:
                assert_never(event)


def attachments(record: Iterable[tuple[Envelope, object]]) -> AttachmentHistory:
    """The files and links of a record, whose other events are passed over."""
    found = AttachmentHistory()
    for envelope, event in record:
        if isinstance(event, AttachmentEvent):
            found.take(envelope, event)
    return found


def key_of(event: AttachmentEvent) -> str:
    """The id of the file or link that an event is about; no file has that of a link."""
    return event.link_id if isinstance(event, LinkAdded | LinkRemoved) else event.attachment_id


def _file(incident_id: str, event: AttachmentAdded, at: int) -> FileHistory:
    return FileHistory(
        event.attachment_id, incident_id, event.file_name, event.media_type, event.size, event.sha256, event.actor,
        event.how, event.via, event.ticket_id, event.external_id, event.problem, event.added_at or at,
        "left" if event.problem else "held",
    )  # fmt: skip
