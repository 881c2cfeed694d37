"""Queries: what REST reads, as a graph (viewer)."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated

import strawberry

from api.graphql.context import Resolving
from api.graphql.paging import After, First, page_info
from api.graphql.tickets import TicketConflictConnection, TicketConnection, conflict_page, ticket_page
from api.graphql.types import (
    AlertConnection,
    Board,
    Incident,
    IncidentConnection,
    Timeline,
    alert_page,
    board_of,
    timeline_page,
)
from api.problems import Problem
from api.tickets import incident_id_of
from policy.decision import Action
from projections.queries.alerts import AlertFilter
from projections.queries.incidents import IncidentFilter
from projections.queries.tickets import ConflictFilter, ConflictState, TicketFilter

AsOf = Annotated[
    datetime | None,
    strawberry.argument(description="as it was at this instant, with an offset; what was recorded later is left out"),
]
Reference = Annotated[str, strawberry.argument(description="an id or a number, e.g. INC-12")]


FollowMerged = Annotated[bool, strawberry.argument(description="one that was merged leads to its target")]
_LONGEST_CHAIN = 100
"""How often an incident may have been merged on before the last one answers for itself."""


def aware(at: datetime | None) -> datetime | None:
    """The instant; raises ``Problem`` 400 for one without an offset."""
    if at is not None and at.tzinfo is None:
        raise Problem(400, "invalid-time", "As of a time", "the time needs an offset, e.g. Z")
    return at


@strawberry.input(description="Which incidents; lists mean any of them")
class IncidentFilterInput:
    """Conditions that all must hold; empty ones hold always."""

    status: list[str] = strawberry.field(default_factory=list)
    severity: list[str] = strawberry.field(default_factory=list)
    service: str = ""
    assignee: str = ""
    text: str = strawberry.field(default="", description="searched in title and description")
    firing: bool | None = None
    include_merged: bool = False


@strawberry.input(description="Which tickets")
class TicketFilterInput:
    """Conditions that all must hold; empty ones hold always."""

    incident_id: str = strawberry.field(default="", description="id or number")
    integration_id: str = ""
    connector: str = ""
    state: list[str] = strawberry.field(default_factory=list)
    in_step: bool | None = strawberry.field(default=None, description="both sides say the same, nothing is under way")
    apart: bool | None = strawberry.field(default=None, description="with open conflicts or drifted fields")


@strawberry.enum(description="Open conflicts, those of them that somebody has to decide, or those that ended")
class TicketConflictState(Enum):
    """Its values are ``ConflictState``'s."""

    OPEN = "open"
    WAITING = "waiting"
    ENDED = "ended"


@strawberry.input(description="Which conflicts of tickets")
class TicketConflictFilterInput:
    """Conditions that all must hold; empty ones hold always."""

    incident_id: str = strawberry.field(default="", description="id or number")
    integration_id: str = ""
    ticket_id: str = ""
    field: str = strawberry.field(default="", description="ours")
    policy: str = ""
    state: TicketConflictState | None = None


@strawberry.type
class Query:
    """The root of reads."""

    @strawberry.field(description="One incident; null when there is none")
    async def incident(
        self,
        info: Resolving,
        id: Reference,  # noqa: A002  the field's usual name
        as_of: AsOf = None,
        follow_merged: FollowMerged = True,  # noqa: FBT002  GraphQL's arguments have names
    ) -> Incident | None:
        """By id or number."""
        principal = await info.context.ask(Action.READ_INCIDENTS, "incident_id", id)
        row = await info.context.reads.incident(principal.tenant_id, id, aware(as_of))
        for _ in range(_LONGEST_CHAIN):
            if row is None or not row.merged_into or not follow_merged:
                break
            row = await info.context.reads.incident(principal.tenant_id, row.merged_into, aware(as_of))
        return Incident.of(row) if row else None

    @strawberry.field(description="Incidents, newest first")
    async def incidents(
        self,
        info: Resolving,
        filter: IncidentFilterInput | None = None,  # noqa: A002  the argument's usual name
        first: First = 50,
        after: After = None,
        as_of: AsOf = None,
    ) -> IncidentConnection:
        """A page of incidents."""
        principal = await info.context.ask(Action.READ_INCIDENTS)
        chosen = filter or IncidentFilterInput()
        wanted = IncidentFilter(
            status=tuple(chosen.status),
            severity=tuple(chosen.severity),
            service=chosen.service,
            assignee=chosen.assignee,
            text=chosen.text,
            firing=chosen.firing,
            include_merged=chosen.include_merged,
        )
        reads, at = info.context.reads, aware(as_of)
        if at is None:
            rows, cursor = await reads.incidents(principal.tenant_id, wanted, after=after, limit=first)
        else:
            rows, cursor = await reads.incidents_as_of(principal.tenant_id, wanted, at, after=after, limit=first)
        return IncidentConnection(nodes=[Incident.of(row) for row in rows], page_info=page_info(cursor))

    @strawberry.field(description="The events of an incident, oldest first")
    async def timeline(
        self, info: Resolving, incident_id: Reference, first: First = 50, after: After = None
    ) -> Timeline:
        """A page of events; empty for an unknown incident."""
        principal = await info.context.ask(Action.READ_TIMELINE, "incident_id", incident_id)
        reads = info.context.reads
        row = await reads.incident(principal.tenant_id, incident_id)
        if row is None:
            return timeline_page([], None)
        return timeline_page(*await reads.timeline(principal.tenant_id, row.incident_id, after=after, limit=first))

    @strawberry.field(description="What became of signals, newest first")
    async def alerts(
        self,
        info: Resolving,
        source: str = "",
        disposition: list[str] | None = None,
        first: First = 50,
        after: After = None,
    ) -> AlertConnection:
        """A page of alerts."""
        principal = await info.context.ask(Action.READ_ALERTS)
        return alert_page(
            *await info.context.reads.alerts(
                principal.tenant_id,
                AlertFilter(source=source, disposition=tuple(disposition or ())),
                after=after,
                limit=first,
            )
        )

    @strawberry.field(description="The incidents that are not over, by status")
    async def board(self, info: Resolving) -> Board:
        """The board."""
        principal = await info.context.ask(Action.READ_BOARD)
        return board_of(await info.context.reads.board(principal.tenant_id))

    @strawberry.field(description="Tickets in other systems, those that were linked last first")
    async def tickets(
        self,
        info: Resolving,
        filter: TicketFilterInput | None = None,  # noqa: A002  the argument's usual name
        first: First = 50,
        after: After = None,
    ) -> TicketConnection:
        """A page of tickets."""
        principal = await info.context.ask(Action.READ_TIMELINE)
        chosen, reads = filter or TicketFilterInput(), info.context.reads
        wanted = TicketFilter(
            incident_id=await incident_id_of(reads, principal.tenant_id, chosen.incident_id),
            integration_id=chosen.integration_id,
            connector=chosen.connector,
            state=tuple(chosen.state),
            in_step=chosen.in_step,
            apart=chosen.apart,
        )
        return ticket_page(*await reads.tickets(principal.tenant_id, wanted, after=after, limit=first))

    @strawberry.field(description="Conflicts of tickets, newest first")
    async def ticket_conflicts(
        self,
        info: Resolving,
        filter: TicketConflictFilterInput | None = None,  # noqa: A002  the argument's usual name
        first: First = 50,
        after: After = None,
    ) -> TicketConflictConnection:
        """A page of conflicts, open and ended ones."""
        principal = await info.context.ask(Action.READ_TIMELINE)
        chosen, reads = filter or TicketConflictFilterInput(), info.context.reads
        state: ConflictState | None = chosen.state.value if chosen.state else None
        wanted = ConflictFilter(
            incident_id=await incident_id_of(reads, principal.tenant_id, chosen.incident_id),
            integration_id=chosen.integration_id,
            ticket_id=chosen.ticket_id,
            field=chosen.field,
            policy=chosen.policy,
            state=state,
        )
        return conflict_page(*await reads.conflicts(principal.tenant_id, wanted, after=after, limit=first))
