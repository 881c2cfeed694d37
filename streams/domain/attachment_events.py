"""Files and links that came to an incident, or were taken away: the data of events on its timeline (ADR 0010).

The bytes of a file are in object storage under the SHA-256 that the event names; events carry what describes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HowAttached = Literal["uploaded", "ticket"]


@dataclass(frozen=True, slots=True)
class AttachmentAdded:
    """A file belongs to the incident from now on.

    ``how``: a person uploaded it, or it came from the ticket ``ticket_id`` (``via`` is the integration, ``external_id``
    the file there). ``sha256`` is empty where the bytes are not here: ``problem`` says why. ``origin`` is the incident
    that brought it in a merge, ``added_at`` when it came to that one (milliseconds, 0: now).
    """

    attachment_id: str
    file_name: str
    media_type: str
    size: int
    sha256: str
    actor: str
    how: HowAttached = "uploaded"
    via: str = ""
    ticket_id: str = ""
    external_id: str = ""
    problem: str = ""
    origin: str = ""
    added_at: int = 0


@dataclass(frozen=True, slots=True)
class AttachmentRemoved:
    """A file belongs to the incident no more; what was sent to tickets stays there."""

    attachment_id: str
    actor: str


@dataclass(frozen=True, slots=True)
class LinkAdded:
    """A link belongs to the incident from now on, or has another title; ``origin`` and ``added_at`` as of files."""

    link_id: str
    url: str
    title: str
    actor: str
    origin: str = ""
    added_at: int = 0


@dataclass(frozen=True, slots=True)
class LinkRemoved:
    """A link belongs to the incident no more; what was sent to tickets stays there."""

    link_id: str
    actor: str


AttachmentEvent = AttachmentAdded | AttachmentRemoved | LinkAdded | LinkRemoved
"""What happens to the files and links of an incident."""
