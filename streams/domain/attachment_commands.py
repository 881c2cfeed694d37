"""What people ask for about files and links of an incident; see ``commands`` for what ``actor`` is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttachFile:
    """Attach a file whose bytes are in object storage under ``sha256`` already."""

    incident_id: str
    file_name: str
    media_type: str
    size: int
    sha256: str
    actor: str


@dataclass(frozen=True, slots=True)
class RemoveAttachment:
    """Take a file away from the incident."""

    incident_id: str
    attachment_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class AddLink:
    """Add a link; for an address that is there, its title is changed."""

    incident_id: str
    url: str
    actor: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class RemoveLink:
    """Take a link away from the incident."""

    incident_id: str
    link_id: str
    actor: str


AttachmentCommand = AttachFile | RemoveAttachment | AddLink | RemoveLink
