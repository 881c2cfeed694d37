"""Tickets in other systems and their conflicts, as GraphQL shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Self

import strawberry

from api.graphql.paging import PageInfo, page_info
from projections.base import instant, instant_or_none
from projections.queries import tickets as queries
from projections.ticket_rows import to_ticket
from streams.domain.ticket_history import TicketHistory


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
    since: datetime | None = strawberry.field(description="when the open conflict began")
    drifted_at: datetime | None = strawberry.field(description="the check that found it changed, until it is repaired")


@strawberry.type(description="An incident's ticket in another system")
class Ticket:
    """``state`` is creating, linking, linked, failed, gone, unlinked or archived."""

    ticket_id: strawberry.ID
    incident_id: strawberry.ID
    connector: str
    integration_id: str
    external_id: str
    external_key: str
    url: str
    state: str
    in_step: bool = strawberry.field(description="both sides say the same, and nothing is under way")
    mapping_version: int
    under_way: str
    last_action: str
    last_result: str
    last_at: datetime | None
    last_failure: str
    checked_at: datetime | None
    since: datetime
    fields: list[TicketField]

    @classmethod
    def of(cls, ticket: TicketHistory) -> Self:
        """The ticket as GraphQL shows it."""
        same = ("connector", "integration_id", "external_id", "external_key", "url", "state", "in_step")
        more = ("mapping_version", "under_way", "last_action", "last_result", "last_failure")
        values: dict[str, Any] = {name: getattr(ticket, name) for name in (*same, *more)}
        fields = [
            TicketField(
                field=one.field,
                external_field=one.external_field,
                ours=one.ours,
                theirs=one.theirs,
                conflict_id=strawberry.ID(one.conflict_id) if one.conflict_id else None,
                waiting=one.waiting,
                explanation=one.explanation,
                since=instant_or_none(one.since),
                drifted_at=instant_or_none(one.drifted_at),
            )
            for one in ticket.fields.values()
        ]
        return cls(
            ticket_id=strawberry.ID(ticket.ticket_id),
            incident_id=strawberry.ID(ticket.incident_id),
            last_at=instant_or_none(ticket.last_at),
            checked_at=instant_or_none(ticket.checked_at),
            since=instant(ticket.since),
            fields=fields,
            **values,
        )


@strawberry.type(description="Tickets, those that were linked last first")
class TicketConnection:
    """A page of tickets."""

    nodes: list[Ticket]
    page_info: PageInfo


@strawberry.type(description="A conflict of one field of a ticket: both values, the policy, and how it ended")
class TicketConflict:
    """``ended`` is null while it is open; ``result`` waiting: somebody has to decide."""

    conflict_id: strawberry.ID
    ticket_id: strawberry.ID
    incident_id: strawberry.ID
    connector: str
    integration_id: str
    external_key: str
    field: str
    external_field: str
    kind: str
    owner: str
    policy: str
    mapping_version: int
    result: str
    ours: str
    theirs: str
    updated_by: str
    explanation: str
    since: datetime
    ended: str | None
    ended_at: datetime | None
    ended_by: str | None

    @classmethod
    def of(cls, row: queries.Conflict) -> Self:
        """The row as GraphQL shows it."""
        same = ("connector", "integration_id", "external_key", "field", "external_field", "kind", "owner", "policy")
        more = ("mapping_version", "result", "ours", "theirs", "updated_by", "explanation", "since", "ended_at")
        values: dict[str, Any] = {name: getattr(row, name) for name in (*same, *more)}
        return cls(
            conflict_id=strawberry.ID(row.conflict_id),
            ticket_id=strawberry.ID(row.ticket_id),
            incident_id=strawberry.ID(row.incident_id),
            ended=row.ended or None,
            ended_by=row.ended_by or None,
            **values,
        )


@strawberry.type(description="Conflicts of tickets, newest first")
class TicketConflictConnection:
    """A page of conflicts."""

    nodes: list[TicketConflict]
    page_info: PageInfo


@strawberry.type(description="How many conflicts are open and tickets not in step")
class SyncSummary:
    """The numbers of a dashboard."""

    open_conflicts: int
    waiting_conflicts: int = strawberry.field(description="those of them that somebody has to decide")
    drifted_fields: int
    tickets_apart: int = strawberry.field(description="with open conflicts or drifted fields")
    tickets_failed: int
    tickets_gone: int

    @classmethod
    def of(cls, summary: queries.SyncSummary) -> Self:
        """The numbers as GraphQL shows them."""
        return cls(**asdict(summary))


def ticket_page(rows: Sequence[queries.Ticket], cursor: str | None) -> TicketConnection:
    """A page of tickets."""
    return TicketConnection(nodes=[Ticket.of(to_ticket(row)) for row in rows], page_info=page_info(cursor))


def conflict_page(rows: Sequence[queries.Conflict], cursor: str | None) -> TicketConflictConnection:
    """A page of conflicts."""
    return TicketConflictConnection(nodes=[TicketConflict.of(row) for row in rows], page_info=page_info(cursor))
