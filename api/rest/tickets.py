"""Tickets of an incident in other systems: where they stand, their conflicts, and what people decide about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import IdempotencyKey, Parts, allowed
from api.problems import Problem
from api.rest.actions import Writing
from api.rest.incidents import AsOf, found
from api.rest.models import LinkTicketInput, MappingInput, PreviewInput, ResolveConflictInput
from api.rest.openapi import ERRORS, WRITE_ANSWERS
from api.rest.outcome import carry_out
from api.rest.responses import json_response
from api.tickets import ticket_view, tickets_of
from policy.decision import Action, Principal
from streams.agents.mapping_files import BadMapping, MappingFile, from_document, lint, preview
from streams.domain import ticket_commands

router = APIRouter(route_class=StrictRoute, prefix="/api/v1", tags=["tickets"])

Reader = Annotated[Principal, Depends(allowed(Action.READ_TIMELINE))]
Configurer = Annotated[Principal, Depends(allowed(Action.CONFIGURE))]
Id = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,100}$")]


@router.get("/incidents/{incident_id}/tickets", summary="Tickets of an incident", responses=ERRORS)
async def list_tickets(principal: Reader, api: Parts, incident_id: str, as_of: AsOf = None) -> Response:
    """Each ticket with what both sides agreed on last, and the open conflicts of its fields."""
    row = await found(api, principal, incident_id, as_of)
    tickets = await tickets_of(api.reads, principal.tenant_id, row.incident_id, as_of)
    return json_response({"items": [ticket_view(ticket) for ticket in tickets]})


@router.post("/incidents/{incident_id}/tickets", summary="Link a ticket, or have one made", responses=WRITE_ANSWERS)
async def link_ticket(writing: Writing, incident_id: str, body: LinkTicketInput) -> Response:
    """Without ``external_id`` a ticket is made; with it, the one of this number, key or id is linked."""
    id_ = await writing.incident_id(incident_id)
    command = ticket_commands.LinkTicket(id_, body.integration_id, writing.principal.actor, body.external_id)
    return await writing.carry_out(command)


@router.delete("/incidents/{incident_id}/tickets/{ticket_id}", summary="Unlink a ticket", responses=WRITE_ANSWERS)
async def unlink_ticket(writing: Writing, incident_id: str, ticket_id: Id) -> Response:
    """The ticket stays where it is and is left alone from now on."""
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(ticket_commands.UnlinkTicket(id_, ticket_id, writing.principal.actor))


@router.post(
    "/incidents/{incident_id}/tickets/{ticket_id}/resolution", summary="Decide a conflict", responses=WRITE_ANSWERS
)
async def resolve_conflict(writing: Writing, incident_id: str, ticket_id: Id, body: ResolveConflictInput) -> Response:
    """For our value, for theirs, or for a value of ours that both shall have; the decision is an event."""
    id_ = await writing.incident_id(incident_id)
    command = ticket_commands.ResolveConflict(
        id_, ticket_id, body.external_field, body.side, writing.principal.actor, body.value
    )
    return await writing.carry_out(command)


@router.post("/incidents/{incident_id}/tickets/reconcile", summary="Compare and repair", responses=WRITE_ANSWERS)
async def reconcile(writing: Writing, incident_id: str) -> Response:
    """Read the incident's tickets again and repair what drifted apart, by policy."""
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(ticket_commands.ReconcileTickets(id_, writing.principal.actor))


@router.put("/integrations/{integration_id}/mapping", summary="Publish a mapping", responses=WRITE_ANSWERS)
async def set_mapping(
    principal: Configurer, api: Parts, integration_id: Id, body: MappingInput, idempotency_key: IdempotencyKey = ""
) -> Response:
    """The document is a mapping file as JSON; what is wrong with it is answered 422, every problem at once."""
    command = _mapping(body.mapping).command(integration_id, principal.actor)
    return await carry_out(api, principal, command, key=idempotency_key, traceparent="")


@router.post("/sync/mapping/preview", summary="Try a mapping on a real record", responses=ERRORS)
async def preview_mapping(principal: Reader, body: PreviewInput) -> Response:
    """What each mapped field of the record would mean for an incident, and what the mapping cannot do."""
    del principal
    mapping = _mapping(body.mapping).mapping
    return json_response({"fields": preview(mapping, body.record), "warnings": lint(mapping)})


def _mapping(document: object) -> MappingFile:
    try:
        return from_document(document)
    except BadMapping as error:
        raise Problem(422, "invalid-mapping", "The mapping cannot be used", "; ".join(error.problems)) from error
