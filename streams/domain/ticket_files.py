"""Files of tickets: what is told of them, what is asked for, and what is remembered of each ticket's files (ADR 0010).

A file's actor is ``<connector>:<account>``; ``external_id`` is what its provider knows it by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from streams.domain.attachments import HeldFile
from streams.domain.tickets import Origin, TicketStatus

FILES_OBSERVED: Final = "com.incidents.ticket.files_observed.v1"

KEEPERS: Final = frozenset({"servicenow", "jira"})
"""The connectors whose tickets can have files; a test compares them with what the connectors can do."""

FileAction = Literal["ticket_attach", "ticket_fetch", "ticket_list_files"]
"""What an intent about files asks of a provider: put a file on a ticket, once; bring one here; say which there are."""

FILE_ACTIONS: Final = frozenset({"ticket_attach", "ticket_fetch", "ticket_list_files"})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at a ticket; ``sha256`` once its bytes are here, ``problem`` why they stayed where they are."""

    external_id: str
    file_name: str = ""
    media_type: str = ""
    size: int = 0
    actor: str = ""
    sha256: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FilesObserved:
    """That a ticket has these files (``complete``: no others): only ever a reason to have them listed.

    ``raw`` and ``raw_ref`` are as in ``TicketObserved``.
    """

    connector: str
    integration_id: str
    external_id: str
    file_ids: tuple[str, ...] = ()
    complete: bool = False
    origin: Origin = "webhook"
    raw: bytes = b""
    raw_ref: str = ""


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """What became of an intent about files, from the dispatcher (``com.incidents.command.record_files.v1``).

    ``files``: the one that was attached (its id alone) or fetched, or all that the ticket has; of those that the intent
    named as known only the ids.
    """

    incident_id: str
    intent_id: str
    connector: str
    integration_id: str
    action: str
    status: TicketStatus
    attempts: int = 1
    files: tuple[RemoteFile, ...] = ()
    detail: str = ""
    actor: str = "system:dispatcher"


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that is at a ticket and here: ``attachment_id`` is ours. ``gone``: it is no longer at the ticket."""

    external_id: str
    attachment_id: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class TicketFiles:
    """What is known and to be done about the files of one ticket, and the links that wait to be put on it.

    ``outgoing`` and ``failed`` are our files that wait and those that were given up, ``incoming`` theirs that are to be
    fetched, ``links`` the ids of links. One intent is under way (``intent``, empty: none) with its ``action`` and the
    file that it is about (``item``, by our id for ``ticket_attach``, by theirs for ``ticket_fetch``).
    """

    outgoing: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    incoming: tuple[RemoteFile, ...] = ()
    copies: tuple[Copy, ...] = ()
    links: tuple[str, ...] = ()
    unlisted: bool = False
    intent: str = ""
    action: str = ""
    item: str = ""
    requests: int = 0

    def copy_of(self, attachment_id: str) -> Copy | None:
        """The copy of one of our files."""
        return next((one for one in self.copies if one.attachment_id == attachment_id), None)

    def knows(self, external_id: str) -> bool:
        """Whether a file of theirs is known, or on its way here."""
        ids = {one.external_id for one in self.copies} | {one.external_id for one in self.incoming}
        return external_id in ids


def upload_of(file: HeldFile, known: tuple[str, ...]) -> dict[str, str]:
    """What an intent says of a file of ours; ``known`` are ids at the ticket that are other files' copies."""
    return {
        "attachment_id": file.attachment_id,
        "file_name": file.file_name,
        "media_type": file.media_type,
        "size": str(file.size),
        "sha256": file.sha256,
        "actor": file.actor,
        "known": " ".join(known),
    }


def download_of(file: RemoteFile) -> dict[str, str]:
    """What an intent says of a file of theirs."""
    return {
        "file_id": file.external_id,
        "file_name": file.file_name,
        "media_type": file.media_type,
        "size": str(file.size),
        "actor": file.actor,
    }


@dataclass(frozen=True, slots=True)
class FileRequest:
    """The payload of an intent about files, read back."""

    attachment_id: str
    file_id: str
    file_name: str
    media_type: str
    size: int
    sha256: str
    actor: str
    known: frozenset[str]


def file_request_of(payload: Mapping[str, str]) -> FileRequest:
    """The request in an intent's payload; raises ``ValueError`` for a size that is none."""
    return FileRequest(
        attachment_id=payload.get("attachment_id", ""),
        file_id=payload.get("file_id", ""),
        file_name=payload.get("file_name", ""),
        media_type=payload.get("media_type", ""),
        size=int(payload.get("size") or 0),
        sha256=payload.get("sha256", ""),
        actor=payload.get("actor", ""),
        known=frozenset(payload.get("known", "").split()),
    )
