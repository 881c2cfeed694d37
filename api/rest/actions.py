"""Writes to incidents: each is one command (responder)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from starlette.responses import Response

from api.body import StrictRoute
from api.commands import Submitted
from api.dependencies import Api, IdempotencyKey, Parts, Traceparent, allowed
from api.problems import Problem
from api.rest.models import (
    AssignInput,
    DeclareInput,
    FieldsInput,
    MergeInput,
    NoteInput,
    SeverityInput,
    StateInput,
)
from api.rest.openapi import WRITE_ANSWERS
from api.rest.outcome import carry_out, expected_revision
from policy.decision import Action, Principal
from streams.domain import commands

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/incidents", tags=["incidents"], responses=WRITE_ANSWERS)

Actor = Annotated[Principal, Depends(allowed(Action.ACT))]
Declarer = Annotated[Principal, Depends(allowed(Action.DECLARE))]
IfMatch = Annotated[str | None, Header(description='the revision that was read, e.g. "3"; another one gives 412')]


class Context:
    """What every write needs: who, with what, and how it is recognized when it is sent again."""

    def __init__(self, principal: Principal, api: Api, key: str, traceparent: str) -> None:
        self.principal = principal
        self.api = api
        self._key = key
        self._traceparent = traceparent

    async def incident_id(self, reference: str) -> str:
        """The id behind an id or number."""
        return await resolve(self.api, self.principal, reference)

    async def submit(self, command: commands.Command) -> Submitted:
        """Submit, for an answer of the caller's own; raises ``Problem``."""
        return await self.api.commands.submit(self.principal, command, key=self._key, traceparent=self._traceparent)

    async def carry_out(self, command: commands.Command) -> Response:
        """Submit and answer."""
        return await carry_out(self.api, self.principal, command, key=self._key, traceparent=self._traceparent)


async def _writing(
    principal: Actor, api: Parts, idempotency_key: IdempotencyKey = "", traceparent: Traceparent = ""
) -> Context:
    return Context(principal, api, idempotency_key, traceparent)


Writing = Annotated[Context, Depends(_writing)]


async def resolve(api: Api, principal: Principal, reference: str) -> str:
    """The incident id of a reference: an id as it is, anything else by a read.

    Raises ``Problem`` 404 where nothing is found and ``Unavailable`` when a number cannot be looked up.
    """
    if _ID.fullmatch(reference):
        return reference
    incident = await api.reads.incident(principal.tenant_id, reference)
    if incident is None:
        raise Problem(404, "unknown-incident", "Not found", f"no incident {reference[:60]}")
    return incident.incident_id


@router.post("", status_code=201, summary="Declare an incident")
async def declare(
    principal: Declarer,
    api: Parts,
    body: DeclareInput,
    idempotency_key: IdempotencyKey = "",
    traceparent: Traceparent = "",
) -> Response:
    """Open an incident by hand; its number is the next of the tenant."""
    command = commands.Declare(actor=principal.actor, **body.model_dump())
    return await carry_out(api, principal, command, key=idempotency_key, traceparent=traceparent, created=True)


@router.post("/{incident_id}/acknowledge", summary="Acknowledge")
async def acknowledge(writing: Writing, incident_id: str) -> Response:
    """Say that somebody is on it; saying so twice changes nothing."""
    return await writing.carry_out(
        commands.Acknowledge(await writing.incident_id(incident_id), writing.principal.actor)
    )


@router.post("/{incident_id}/state", summary="Move along the lifecycle")
async def change_state(writing: Writing, incident_id: str, body: StateInput, if_match: IfMatch = None) -> Response:
    """Illegal steps are answered 409."""
    revision = expected_revision(if_match)
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.ChangeState(id_, body.to, writing.principal.actor, body.reason, revision))


@router.post("/{incident_id}/assign", summary="Assign")
async def assign(writing: Writing, incident_id: str, body: AssignInput, if_match: IfMatch = None) -> Response:
    """Name the responsible person; an empty name takes the assignment back."""
    revision = expected_revision(if_match)
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.Assign(id_, body.assignee, writing.principal.actor, revision))


@router.post("/{incident_id}/severity", summary="Set the severity")
async def set_severity(writing: Writing, incident_id: str, body: SeverityInput, if_match: IfMatch = None) -> Response:
    """From SEV-1, the worst, to SEV-5."""
    revision = expected_revision(if_match)
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.SetSeverity(id_, body.severity, writing.principal.actor, revision))


@router.patch("/{incident_id}", summary="Edit title, service or description")
async def change_fields(writing: Writing, incident_id: str, body: FieldsInput, if_match: IfMatch = None) -> Response:
    """Only the fields that are sent change."""
    fields = body.model_dump(exclude_none=True)
    if not fields:
        raise Problem(
            422, "invalid-input", "The input is not valid", "send at least one of title, service, description"
        )
    revision = expected_revision(if_match)
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.ChangeFields(id_, fields, writing.principal.actor, revision))


@router.post("/{incident_id}/notes", summary="Add a note")
async def add_note(writing: Writing, incident_id: str, body: NoteInput) -> Response:
    """The note stands on the timeline for good."""
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.AddNote(id_, body.text, writing.principal.actor))


@router.post("/{incident_id}/merge", summary="Merge into another incident")
async def merge(writing: Writing, incident_id: str, body: MergeInput, if_match: IfMatch = None) -> Response:
    """Fold this incident into another; its id and number lead there from then on."""
    revision = expected_revision(if_match)
    id_, into = await writing.incident_id(incident_id), await writing.incident_id(body.into)
    return await writing.carry_out(commands.Merge(id_, into, writing.principal.actor, revision))
