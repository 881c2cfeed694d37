"""What happened between an incident and its tickets: the data of events on the incident's timeline (ADR 0007).

``ticket_id`` is the link (one for each incident and integration); ``mapping_version`` the mapping that was gone by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streams.domain.mapping import Owner, Policy

How = Literal["created", "found", "command", "merged"]
WhyNot = Literal["gone", "command", "archived"]


@dataclass(frozen=True, slots=True)
class SyncedField:
    """What the two sides of a field are said to be since this event; ``theirs`` is raw.

    ``result``: ``written``, ``taken`` or ``agreed`` (they came to the same by themselves).
    """

    field: str
    external_field: str
    ours: str
    theirs: str
    result: str
    previous: str = ""


@dataclass(frozen=True, slots=True)
class TicketLinked:
    """A ticket belongs to the incident from now on."""

    ticket_id: str
    connector: str
    integration_id: str
    how: How
    external_id: str
    external_key: str = ""
    url: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class TicketUnlinked:
    """A ticket belongs to the incident no more (``gone``: deleted at its provider, or hidden from us)."""

    ticket_id: str
    connector: str
    integration_id: str
    why: WhyNot
    external_id: str = ""
    external_key: str = ""
    detail: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class SyncRequested:
    """An intent about a ticket was planned: see ``tickets.TicketRequest`` for what it carries.

    ``fields`` are those of ours that it brings over.
    """

    ticket_id: str
    intent_id: str
    connector: str
    integration_id: str
    action: str
    marker: str
    mapping_version: int
    external_id: str = ""
    fields: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    version: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class SyncCompleted:
    """An intent about a ticket was carried out.

    ``rewritten`` are values that the provider put in the place of what was written; ``drifted`` external fields that
    a read showed other than they were believed to be.
    """

    ticket_id: str
    intent_id: str
    connector: str
    integration_id: str
    action: str
    mapping_version: int
    attempts: int = 1
    external_id: str = ""
    external_key: str = ""
    url: str = ""
    version: int = 0
    fields: tuple[SyncedField, ...] = ()
    written: tuple[str, ...] = ()
    rewritten: Mapping[str, str] = field(default_factory=dict)
    drifted: tuple[str, ...] = ()
    detail: str = ""


FailureKind = Literal["stale", "refused", "gone", "dropped"]


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """An intent about a ticket changed nothing.

    ``stale``: the ticket was no longer as expected, it is decided anew; ``refused``: given up, until something
    changes; ``gone``: there is no such ticket; ``dropped``: not even tried (too many comments waited).
    """

    ticket_id: str
    intent_id: str
    connector: str
    integration_id: str
    action: str
    kind: FailureKind
    attempts: int = 1
    external_id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProviderAck:
    """A change at the provider was taken notice of: taken over, or found to say what our side says."""

    ticket_id: str
    connector: str
    integration_id: str
    external_id: str
    mapping_version: int
    version: int
    updated_by: str = ""
    fields: tuple[SyncedField, ...] = ()


ConflictKind = Literal[
    "both_changed", "not_owner", "unmapped", "ambiguous", "not_allowed", "first", "rewritten", "overwritten", "raced",
    "refused", "contested",
]  # fmt: skip
"""Why a field could not simply go from the side that changed it to the other:

both sides changed it; the side that does not own it did; the mapping does not know their value; it cannot tell what
their value means; the incident does not allow it (lifecycle, limits); the two sides were never the same before; the
provider replaced what was written; our write replaced another one's value, which the provider's history names; or may
have, and nothing names it; the provider refused the write; it goes back and forth without end.
"""

ConflictResult = Literal["ours", "theirs", "kept", "waiting"]
"""``ours`` is written to the ticket, ``theirs`` is taken, both stay as they are (``kept``: until either changes), or
both stay until somebody decides (``waiting``)."""


@dataclass(frozen=True, slots=True)
class ConflictDetected:
    """A conflict of one field, with everything that its decision was made from.

    ``ours_at`` is recorded time, ``theirs_at`` the provider's clock, both in milliseconds. ``base_known`` is false
    where the two sides had never agreed on anything. ``explanation`` says it to people.
    """

    conflict_id: str
    ticket_id: str
    connector: str
    integration_id: str
    external_id: str
    field: str
    external_field: str
    kind: ConflictKind
    owner: Owner
    policy: Policy
    mapping_version: int
    result: ConflictResult
    ours: str
    theirs: str
    base_ours: str = ""
    base_theirs: str = ""
    base_known: bool = True
    ours_at: int = 0
    theirs_at: int = 0
    updated_by: str = ""
    explanation: str = ""


Side = Literal["ours", "theirs", "value", "agreement"]


@dataclass(frozen=True, slots=True)
class ConflictResolved:
    """A conflict that waited or was kept is over: somebody chose (``actor``), or the two sides came to agree."""

    conflict_id: str
    ticket_id: str
    connector: str
    integration_id: str
    field: str
    external_field: str
    side: Side
    value: str
    actor: str = ""


@dataclass(frozen=True, slots=True)
class TicketFileGone:
    """A ticket no longer has its copy of one of the incident's files: it was deleted there, and stays here."""

    ticket_id: str
    connector: str
    integration_id: str
    attachment_id: str
    external_id: str = ""


TicketEvent = (
    TicketLinked
    | TicketUnlinked
    | SyncRequested
    | SyncCompleted
    | SyncFailed
    | ProviderAck
    | ConflictDetected
    | ConflictResolved
    | TicketFileGone
)
"""What happens between an incident and a ticket."""
