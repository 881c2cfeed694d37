"""Tickets in other systems as the API shows them, now from their read model, or as they were from the timeline."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from api.problems import Problem
from api.reads import MAX_PAGE, Reads
from projections.base import instant_or_none
from projections.queries.tickets import Conflict, Ticket, TicketFilter
from projections.ticket_rows import to_ticket
from streams.codec.plain import from_json
from streams.domain.catalogue import CATALOGUE
from streams.domain.envelope import Envelope
from streams.domain.ticket_events import TicketEvent
from streams.domain.ticket_history import TicketField, TicketHistory, tickets

_TYPES = tuple(spec.type for spec in CATALOGUE if issubclass(spec.data, TicketEvent))
_TICKET = (
    "ticket_id", "incident_id", "connector", "integration_id", "external_id", "external_key", "url", "state", "in_step",
    "mapping_version", "version", "under_way", "last_action", "last_result", "last_failure",
)  # fmt: skip
_CONFLICT = (
    "conflict_id", "ticket_id", "connector", "integration_id", "external_key", "field", "external_field", "kind",
    "owner", "policy", "mapping_version", "result", "ours", "theirs", "updated_by", "explanation", "since",
)  # fmt: skip


async def tickets_of(
    reads: Reads, tenant_id: str, incident_id: str, as_of: datetime | None = None
) -> list[TicketHistory]:
    """The tickets that follow an incident, also those that came with a merge; as they were, from its own timeline."""
    if as_of is None:
        wanted = TicketFilter(incident_id=incident_id)
        rows, _ = await reads.tickets(tenant_id, wanted, after=None, limit=MAX_PAGE)
        return [to_ticket(row) for row in reversed(rows)]
    found: list[tuple[Envelope, object]] = []
    after: str | None = None
    while True:
        page, after = await reads.timeline(
            tenant_id, incident_id, types=_TYPES, after=after, limit=MAX_PAGE, as_of=as_of
        )
        found += [(event.envelope, from_json(event.type, event.data)) for event in page if event.data is not None]
        if after is None:
            return list(tickets(found).tickets.values())


async def incident_id_of(reads: Reads, tenant_id: str, reference: str) -> str:
    """The id behind an id or number, empty for an empty one; raises ``Problem`` 404 for an unknown one."""
    incident = await reads.incident(tenant_id, reference) if reference else None
    if reference and incident is None:
        raise Problem(404, "unknown-incident", "Not found", f"no incident {reference[:60]}")
    return incident.incident_id if incident else ""


def ticket_view(ticket: TicketHistory) -> dict[str, Any]:
    """A ticket as REST shows it."""
    return {
        **{name: getattr(ticket, name) for name in _TICKET},
        "last_at": instant_or_none(ticket.last_at),
        "checked_at": instant_or_none(ticket.checked_at),
        "since": instant_or_none(ticket.since),
        "open_conflicts": len(ticket.divergent),
        "waiting_conflicts": len(ticket.waiting),
        "drifted_fields": len(ticket.drifted),
        "fields": [_field_view(one) for one in ticket.fields.values()],
    }


def listed_view(row: Ticket) -> dict[str, Any]:
    """A ticket of the tenant's list: with the incident's human number."""
    return {**ticket_view(to_ticket(row)), "incident": f"INC-{row.number}"}


def _field_view(one: TicketField) -> dict[str, Any]:
    times = {"since": instant_or_none(one.since), "drifted_at": instant_or_none(one.drifted_at)}
    return {**asdict(one), "conflict_id": one.conflict_id or None, **times}


def conflict_view(row: Conflict) -> dict[str, Any]:
    """A conflict as REST shows it: what it is about, its inputs, and how it ended."""
    return {
        **{name: getattr(row, name) for name in _CONFLICT},
        "incident_id": row.incident_id,
        "incident": f"INC-{row.number}",
        "base": {"ours": row.base_ours, "theirs": row.base_theirs} if row.base_known else None,
        "open": not row.ended,
        "ended": row.ended or None,
        "ended_at": row.ended_at,
        "ended_by": row.ended_by or None,
        "value": row.value if row.ended else None,
    }
