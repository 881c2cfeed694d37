"""What is remembered of one ticket: where it is, what was last seen of it, and what both sides last agreed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from streams.domain.envelope import derive_id
from streams.domain.incident import Incident
from streams.domain.mapping import FieldMapping

Phase = Literal["creating", "linking", "linked", "failed", "lost"]
"""``creating`` and ``linking``: not known at the provider yet; ``failed``: that was given up; ``lost``: the ticket is
deleted or hidden. A command takes them up again, and a ticket on which the marker is seen the former."""


MARKER = "inc-"
"""How markers begin."""


def marked(marker: str) -> str:
    """The ticket id in a marker; empty where it is none of ours."""
    return marker.removeprefix(MARKER)[:_UUID] if marker.startswith(MARKER) else ""


_UUID = 36


class FieldLink(NamedTuple):
    """One mapped field of a ticket, by its external name.

    ``base_*`` are what each side showed when they last agreed (``has_base``: ever). ``ours`` is our value when we last
    looked, ``ours_at`` the recorded time since which it is so; ``theirs_at`` is the provider's time of the change
    that their newest value came with. ``conflict`` is the id of an open conflict, ``waiting`` whether it needs a
    decision, ``stake_ours`` and ``at_stake`` the two values in it. ``forced``: somebody decided for ours, so it is
    written whatever the rule says. ``back`` counts how often ``pushed`` was changed back since ``back_since``.
    """

    external_field: str
    has_base: bool = False
    base_ours: str = ""
    base_theirs: str = ""
    ours: str = ""
    ours_at: int = 0
    theirs_at: int = 0
    conflict: str = ""
    waiting: bool = False
    stake_ours: str = ""
    at_stake: str = ""
    forced: bool = False
    pushed: str = ""
    back: int = 0
    back_since: int = 0


class Asked(NamedTuple):
    """A field under way: our value that it stands for (``mapped``: else it only goes with another) and the raw one."""

    external_field: str
    ours: str
    theirs: str
    mapped: bool


class TicketLink(NamedTuple):
    """The link of an incident and an integration; ``follows`` is the incident whose values it shows (after a merge).

    ``seen`` is the newest that was seen of the ticket, of ``version``. ``intent`` is what is under way (empty: nothing)
    and ``action`` and ``asked`` what it is to do. ``requests`` counts intents. ``comments`` wait to be sent,
    ``duplicates`` to be retired. ``unread``: the ticket is to be read. ``stale`` counts writes in a row that did not
    find the ticket as expected.
    """

    ticket_id: str
    incident_id: str
    follows: str
    integration_id: str
    connector: str
    phase: Phase
    external_id: str = ""
    external_key: str = ""
    url: str = ""
    version: int = 0
    updated_by: str = ""
    seen: Mapping[str, str] | None = None
    fields: tuple[FieldLink, ...] = ()
    intent: str = ""
    action: str = ""
    asked: tuple[Asked, ...] = ()
    requests: int = 0
    comments: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    unread: bool = False
    checked_at: int = 0
    stale: int = 0

    @property
    def marker(self) -> str:
        """What is on the ticket at the provider, so that it can be found again."""
        return f"{MARKER}{self.ticket_id}-{self.integration_id}"

    @property
    def shown(self) -> Mapping[str, str]:
        """The newest raw values."""
        return self.seen or {}

    def field(self, external_field: str) -> FieldLink:
        """What is remembered of a field."""
        found = next((one for one in self.fields if one.external_field == external_field), None)
        return found or FieldLink(external_field)

    def under_way(self, external_field: str) -> bool:
        """Whether a write of the field is out."""
        return any(one.external_field == external_field for one in self.asked)


def ticket_id(incident_id: str, integration_id: str) -> str:
    """The id of a link: an incident has one ticket in each integration."""
    return derive_id(incident_id, integration_id, "ticket")


def with_field(link: TicketLink, field: FieldLink) -> TicketLink:
    """The link with another state of one field."""
    if field in link.fields:
        return link
    kept = tuple(one for one in link.fields if one.external_field != field.external_field)
    return link._replace(fields=(*kept, field))


def forced(link: TicketLink, external_field: str) -> FieldLink:
    """The field with the decision to write ours over what the ticket shows now, and over nothing else."""
    return link.field(external_field)._replace(forced=True, at_stake=link.shown.get(external_field, ""))


def words(incident: Incident) -> dict[str, str]:
    """What the texts of a mapping's required fields may refer to."""
    return {"number": f"INC-{incident.number}", "status": incident.status, "title": incident.title}


def internal(incident: Incident, mapping: FieldMapping) -> str:
    """Our value of a mapped field."""
    value = getattr(incident, mapping.field)
    return str(value)


class TicketIndex:
    """Which links follow an incident, and which link a provider's ticket has; derived from the links."""

    __slots__ = ("by_external", "following")

    def __init__(self) -> None:
        self.by_external: dict[tuple[str, str], str] = {}
        self.following: dict[str, set[str]] = {}

    def note(self, key: str, old: TicketLink | None, new: TicketLink | None) -> None:
        """Take in a changed link."""
        if old is not None:
            self.following.get(old.follows, set()).discard(key)
            if self.by_external.get((old.integration_id, old.external_id)) == key:
                del self.by_external[old.integration_id, old.external_id]
        if new is not None:
            self.following.setdefault(new.follows, set()).add(key)
            if new.external_id:
                self.by_external[new.integration_id, new.external_id] = key

    def of(self, incident_id: str) -> list[str]:
        """The ids of the links that follow an incident, in a fixed order."""
        return sorted(self.following.get(incident_id, ()))
