"""What people and the poller ask for about tickets; see ``commands`` for what ``actor`` is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streams.domain.mapping import Comments, FieldMapping


@dataclass(frozen=True, slots=True)
class SetMapping:
    """Go by this mapping of an integration from now on (``com.incidents.config.mapping.v1``): see ``TicketMapping``.

    An inactive one takes the mapping away: its tickets stay linked and nothing is synced.
    """

    integration_id: str
    connector: str
    version: int
    fields: tuple[FieldMapping, ...]
    actor: str
    create_for: tuple[str, ...] = ()
    comments: Comments = "both"
    active: bool = True


@dataclass(frozen=True, slots=True)
class LinkTicket:
    """Link a ticket that is there (by its id, or by what people call it), or make one (``external_id`` empty)."""

    incident_id: str
    integration_id: str
    actor: str
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class UnlinkTicket:
    """Leave a ticket alone from now on."""

    incident_id: str
    ticket_id: str
    actor: str


ChosenSide = Literal["ours", "theirs", "value"]


@dataclass(frozen=True, slots=True)
class ResolveConflict:
    """Decide an open conflict: for our value, for theirs, or for a ``value`` (of ours) that both shall have."""

    incident_id: str
    ticket_id: str
    external_field: str
    side: ChosenSide
    actor: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class ReconcileTickets:
    """Read the tickets of an incident (empty: all of the tenant, those not looked at for longest first) and repair."""

    incident_id: str
    actor: str
    integration_id: str = ""
    most: int = 200


TicketCommand = LinkTicket | UnlinkTicket | ResolveConflict | ReconcileTickets
