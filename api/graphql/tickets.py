"""Tickets in other systems, as GraphQL shows them."""

from __future__ import annotations

from typing import Self

import strawberry

from streams.agents.ticket_history import TicketHistory


@strawberry.type(description="A mapped field of a ticket: what both sides agreed on last, and its open conflict")
class TicketField:
    """``theirs`` is the raw value; ``waiting``: somebody has to decide."""

    field: str
    external_field: str
    ours: str
    theirs: str
    conflict_id: strawberry.ID | None
    waiting: bool
    explanation: str


@strawberry.type(description="An incident's ticket in another system")
class Ticket:
    """``state`` is creating, linked, failed, gone, command (unlinked) or archived."""

    ticket_id: strawberry.ID
    connector: str
    integration_id: str
    external_id: str
    external_key: str
    url: str
    state: str
    under_way: str
    last_failure: str
    fields: list[TicketField]

    @classmethod
    def of(cls, ticket: TicketHistory) -> Self:
        """The ticket as GraphQL shows it."""
        fields = [
            TicketField(
                field=one.field,
                external_field=one.external_field,
                ours=one.ours,
                theirs=one.theirs,
                conflict_id=strawberry.ID(one.conflict_id) if one.conflict_id else None,
                waiting=one.waiting,
                explanation=one.explanation,
            )
            for one in ticket.fields.values()
        ]
        return cls(
            ticket_id=strawberry.ID(ticket.ticket_id),
            connector=ticket.connector,
            integration_id=ticket.integration_id,
            external_id=ticket.external_id,
            external_key=ticket.external_key,
            url=ticket.url,
            state=ticket.state,
            under_way=ticket.under_way,
            last_failure=ticket.last_failure,
            fields=fields,
        )
