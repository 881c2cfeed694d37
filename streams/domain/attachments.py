"""The files and links of an incident as decisions need them, and what their names, types and addresses may be."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import Final, assert_never
from urllib.parse import urlsplit

from streams.domain.attachment_events import (
    AttachmentAdded,
    AttachmentEvent,
    AttachmentRemoved,
    HowAttached,
    LinkAdded,
    LinkRemoved,
)
from streams.domain.envelope import derive_id

MAX_FILES = 200
MAX_LINKS = 200
MAX_NAME = 200
"""Characters of a file's name; a longer one is cut before its extension."""

MAX_URL = 2_000
PLAIN_BYTES: Final = "application/octet-stream"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_MAX_EXTENSION = 20


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file of an incident; see ``AttachmentAdded``."""

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
    added_at: int = 0


@dataclass(frozen=True, slots=True)
class HeldLink:
    """A link of an incident."""

    link_id: str
    url: str
    title: str
    actor: str
    added_at: int = 0


@dataclass(frozen=True, slots=True)
class Attached:
    """Everything that is attached to one incident, in the order in which it came."""

    files: tuple[HeldFile, ...] = ()
    links: tuple[HeldLink, ...] = ()


def evolve(attached: Attached, event: AttachmentEvent, at: int) -> Attached:
    """What is attached after an event of recorded time ``at``; total over ``AttachmentEvent``."""
    match event:
        case AttachmentAdded():
            file = HeldFile(
                event.attachment_id, event.file_name, event.media_type, event.size, event.sha256, event.actor,
                event.how, event.via, event.ticket_id, event.external_id, event.problem, event.added_at or at,
            )  # fmt: skip
            others = tuple(one for one in attached.files if one.attachment_id != event.attachment_id)
            return replace(attached, files=(*others, file))
        case AttachmentRemoved(attachment_id=gone):
            return replace(attached, files=tuple(one for one in attached.files if one.attachment_id != gone))
        case LinkAdded():
            link = HeldLink(event.link_id, event.url, event.title, event.actor, event.added_at or at)
            kept = tuple(one for one in attached.links if one.link_id != event.link_id)
            return replace(attached, links=(*kept, link))
        case LinkRemoved(link_id=gone):
            return replace(attached, links=tuple(one for one in attached.links if one.link_id != gone))
        case _:
            assert_never(event)


def attachment_id(incident_id: str, command_id: str) -> str:
    """The id of the file that a command attaches to an incident."""
    return derive_id(incident_id, command_id, "attachment")


def safe_file_name(given: str) -> str:
    """A name for display and for downloads: no folders, no control or direction characters; empty if nothing is left.

    One that is too long keeps its extension.
    """
    last = re.split(r"[/\\]", given)[-1]
    shown = "".join(c for c in last if c.isspace() or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Cn"})
    name = " ".join(shown.split()).strip(". ")
    if len(name) <= MAX_NAME:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > _MAX_EXTENSION:
        return name[:MAX_NAME]
    return f"{stem[: MAX_NAME - len(extension) - 1]}.{extension}"


def media_type(given: str) -> str:
    """A media type without its parameters, in lower case; ``application/octet-stream`` for what is none."""
    found = given.partition(";")[0].strip().lower()
    return found if _MEDIA_TYPE.fullmatch(found) else PLAIN_BYTES


def is_sha256(given: str) -> bool:
    """Whether this is a digest in lower-case hexadecimal digits."""
    return _SHA256.fullmatch(given) is not None


def refused_link(url: str) -> str:
    """Why an address cannot be a link; empty when it can. Only http and https, without credentials."""
    if len(url) > MAX_URL:
        return f"an address has at most {MAX_URL} characters"
    if any(c.isspace() or unicodedata.category(c) in {"Cc", "Cf", "Cs"} for c in url):
        return "an address has no blanks and no control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not an address"
    if parts.scheme not in {"http", "https"} or not host:
        return "an address begins with http:// or https:// and names a host"
    return "an address has no user name or password" if parts.username or parts.password else ""
