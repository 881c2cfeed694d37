"""Tickets of all incidents: where they stand, which fields are in conflict, and how many are not in step (viewer)."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Parts, allowed
from api.rest.incidents import After, BoardReader, Limit, page
from api.rest.openapi import ERRORS
from api.rest.responses import json_response
from api.tickets import conflict_view, incident_id_of, listed_view
from policy.decision import Action, Principal
from projections.queries.tickets import ConflictFilter, ConflictState, TicketFilter
from streams.domain.mapping import Policy
from streams.domain.ticket_history import TicketState

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/sync", tags=["tickets"], responses=ERRORS)

Reader = Annotated[Principal, Depends(allowed(Action.READ_TIMELINE))]
Name = Annotated[str, Query(max_length=100)]
Incident = Annotated[str, Query(max_length=100, description="id or number, e.g. INC-12")]
_STATES = len(get_args(TicketState))


@router.get("/tickets", summary="List tickets, those that were linked last first")
async def list_tickets(
    request: Request,
    principal: Reader,
    api: Parts,
    incident_id: Incident = "",
    integration_id: Name = "",
    connector: Name = "",
    state: Annotated[list[TicketState], Query(max_length=_STATES, description="any of these; repeat it")] = [],  # noqa: B006  FastAPI copies it
    in_step: Annotated[bool | None, Query(description="both sides say the same and nothing is under way")] = None,
    apart: Annotated[bool | None, Query(description="with open conflicts or drifted fields")] = None,
    limit: Limit = 100,
    after: After = None,
) -> Response:
    """Each with its fields: what both sides agreed on last, or what each says."""
    wanted = TicketFilter(
        await incident_id_of(api.reads, principal.tenant_id, incident_id),
        integration_id,
        connector,
        tuple(state),
        in_step,
        apart,
    )
    rows, cursor = await api.reads.tickets(principal.tenant_id, wanted, after=after, limit=limit)
    return page(request, [listed_view(row) for row in rows], cursor)


@router.get("/conflicts", summary="List conflicts of tickets, newest first")
async def list_conflicts(
    request: Request,
    principal: Reader,
    api: Parts,
    incident_id: Incident = "",
    integration_id: Name = "",
    ticket_id: Name = "",
    field: Annotated[
        Literal["title", "description", "severity", "status", "service", "assignee"] | None, Query(description="ours")
    ] = None,
    policy: Policy | None = None,
    state: Annotated[
        ConflictState | None, Query(description="`waiting`: open, and somebody has to decide; all without it")
    ] = None,
    limit: Limit = 100,
    after: After = None,
) -> Response:
    """Each with both values, what they last agreed on, the policy, and how it ended unless it is open."""
    wanted = ConflictFilter(
        await incident_id_of(api.reads, principal.tenant_id, incident_id),
        integration_id,
        ticket_id,
        field or "",
        policy or "",
        state,
    )
    rows, cursor = await api.reads.conflicts(principal.tenant_id, wanted, after=after, limit=limit)
    return page(request, [conflict_view(row) for row in rows], cursor)


@router.get("/summary", summary="How many conflicts are open and tickets not in step")
async def summary(principal: BoardReader, api: Parts) -> Response:
    """The numbers that the board shows, too."""
    return json_response(await api.reads.sync_summary(principal.tenant_id))
