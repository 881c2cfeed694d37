"""The tickets of an incident, folded from the part of its timeline that tells of them."""

from __future__ import annotations

from api.problems import Problem
from api.reads import MAX_PAGE, Reads
from streams.agents.ticket_history import TicketHistory, tickets
from streams.codec.plain import from_json
from streams.domain.catalogue import CATALOGUE
from streams.domain.envelope import Envelope
from streams.domain.ticket_events import TicketEvent

_TYPES = tuple(spec.type for spec in CATALOGUE if issubclass(spec.data, TicketEvent))


async def tickets_of(reads: Reads, tenant_id: str, reference: str) -> list[TicketHistory]:
    """The tickets that follow an incident, by its id or number; raises ``Problem`` 404 for one that is not there."""
    incident = await reads.incident(tenant_id, reference)
    if incident is None:
        raise Problem(404, "unknown-incident", "Not found", f"no incident {reference[:60]}")
    found: list[tuple[Envelope, object]] = []
    after: str | None = None
    while True:
        page, after = await reads.timeline(tenant_id, incident.incident_id, types=_TYPES, after=after, limit=MAX_PAGE)
        found += [(event.envelope, from_json(event.type, event.data)) for event in page if event.data is not None]
        if after is None:
            return list(tickets(found).values())
