"""Mutations: one for each command, with what can be refused as a type of the answer (responder)."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import strawberry

from api.auth import Unavailable
from api.commands import Submitted
from api.graphql.context import Resolving
from api.graphql.types import Incident
from api.problems import Problem
from api.rest.actions import resolve
from policy.decision import Action, Principal
from streams.domain import attachment_commands, commands, ticket_commands
from streams.domain.errors import Reason

Key = Annotated[str, strawberry.argument(description="the same key again is answered with the first outcome")]
Revision = Annotated[int, strawberry.argument(description="the revision that was read; 0: whatever it is")]
_REASONS = frozenset(Reason)


@strawberry.enum(description="For whose value a conflict is decided")
class ConflictSide(Enum):
    """The values are those of the command."""

    OURS = "ours"
    THEIRS = "theirs"
    VALUE = "value"


@strawberry.type(description="The command was carried out and reads show it")
class CommandSucceeded:
    """The incident as read."""

    command_id: strawberry.ID
    incident: Incident
    sequence: int
    cursor: str


@strawberry.type(description="The command is durable, but not decided or not shown by reads yet")
class CommandPending:
    """Where its outcome can be asked for."""

    command_id: strawberry.ID
    operation: str


@strawberry.type(description="The command was refused")
class CommandRefused:
    """``reason`` is a stable code."""

    reason: str
    detail: str


CommandPayload = Annotated[CommandSucceeded | CommandPending | CommandRefused, strawberry.union("CommandPayload")]


async def _carry_out(info: Resolving, principal: Principal, command: commands.Command, key: str) -> CommandPayload:
    api = info.context.api
    try:
        submitted = await api.commands.submit(principal, command, key=key)
    except Problem as problem:
        if problem.code in _REASONS:
            return CommandRefused(reason=problem.code, detail=problem.detail)
        raise
    outcome = submitted.outcome
    if outcome is None or not submitted.visible:
        return _pending(submitted)
    try:
        row = await api.reads.incident(principal.tenant_id, outcome.incident_id)
    except Unavailable:
        return _pending(submitted)
    if row is None:
        return _pending(submitted)
    return CommandSucceeded(
        command_id=strawberry.ID(submitted.command_id),
        incident=Incident.of(row),
        sequence=outcome.sequence,
        cursor=str(outcome.tenantsequence),
    )


def _pending(submitted: Submitted) -> CommandPending:
    link = f"/api/v1/operations/{submitted.command_id}"
    return CommandPending(command_id=strawberry.ID(submitted.command_id), operation=link)


async def _target(info: Resolving, reference: str) -> tuple[Principal, str]:
    principal = await info.context.ask(Action.ACT, "incident_id", reference)
    return principal, await resolve(info.context.api, principal, reference)


@strawberry.type
class Mutation:
    """The root of writes."""

    @strawberry.mutation(description="Open an incident by hand")
    async def declare_incident(
        self,
        info: Resolving,
        title: str,
        severity: str = "SEV-3",
        service: str = "",
        description: str = "",
        draft: bool = False,  # noqa: FBT001, FBT002  an argument of GraphQL has a name
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Its number is the next of the tenant."""
        principal = await info.context.ask(Action.DECLARE)
        command = commands.Declare(title, principal.actor, severity, service, description, draft)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Say that somebody is on it")
    async def acknowledge_incident(self, info: Resolving, id: str, idempotency_key: Key = "") -> CommandPayload:  # noqa: A002
        """Saying so twice changes nothing."""
        principal, id_ = await _target(info, id)
        return await _carry_out(info, principal, commands.Acknowledge(id_, principal.actor), idempotency_key)

    @strawberry.mutation(description="Move along the lifecycle")
    async def change_incident_state(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        to: str,
        reason: str = "",
        expected_revision: Revision = 0,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Illegal steps are refused."""
        principal, id_ = await _target(info, id)
        command = commands.ChangeState(id_, to, principal.actor, reason, expected_revision)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Name the responsible person; empty: nobody")
    async def assign_incident(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        assignee: str,
        expected_revision: Revision = 0,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Assign."""
        principal, id_ = await _target(info, id)
        command = commands.Assign(id_, assignee, principal.actor, expected_revision)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Set the severity, from SEV-1 to SEV-5")
    async def set_incident_severity(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        severity: str,
        expected_revision: Revision = 0,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Set the severity."""
        principal, id_ = await _target(info, id)
        command = commands.SetSeverity(id_, severity, principal.actor, expected_revision)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Edit title, service or description; what is null stays")
    async def edit_incident(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        title: str | None = None,
        service: str | None = None,
        description: str | None = None,
        expected_revision: Revision = 0,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Edit fields."""
        principal, id_ = await _target(info, id)
        given = {"title": title, "service": service, "description": description}
        fields = {name: value for name, value in given.items() if value is not None}
        if not fields:
            return CommandRefused(reason=Reason.EMPTY_VALUE, detail="give at least one field")
        command = commands.ChangeFields(id_, fields, principal.actor, expected_revision)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Put a note on the timeline")
    async def add_incident_note(self, info: Resolving, id: str, text: str, idempotency_key: Key = "") -> CommandPayload:  # noqa: A002
        """The note stays for good."""
        principal, id_ = await _target(info, id)
        return await _carry_out(info, principal, commands.AddNote(id_, text, principal.actor), idempotency_key)

    @strawberry.mutation(description="Fold an incident into another")
    async def merge_incident(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        into: str,
        expected_revision: Revision = 0,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Its id and number lead to the other from then on."""
        principal, id_ = await _target(info, id)
        target = await resolve(info.context.api, principal, into)
        command = commands.Merge(id_, target, principal.actor, expected_revision)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Add a link (http or https); one that is there gets the new title")
    async def add_incident_link(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        url: str,
        title: str = "",
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """Without a title its address stands for it."""
        principal, id_ = await _target(info, id)
        command = attachment_commands.AddLink(id_, url, principal.actor, title)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Take a link away")
    async def remove_incident_link(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        link_id: str,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """It stays on the timeline."""
        principal, id_ = await _target(info, id)
        command = attachment_commands.RemoveLink(id_, link_id, principal.actor)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Take a file away; files are attached over REST")
    async def remove_incident_attachment(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        attachment_id: str,
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """It stays on the timeline."""
        principal, id_ = await _target(info, id)
        command = attachment_commands.RemoveAttachment(id_, attachment_id, principal.actor)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Link a ticket to an incident; without externalId one is made")
    async def link_ticket(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        integration_id: str,
        external_id: str = "",
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """By the number, key or id that the other system knows it by."""
        principal, id_ = await _target(info, id)
        command = ticket_commands.LinkTicket(id_, integration_id, principal.actor, external_id)
        return await _carry_out(info, principal, command, idempotency_key)

    @strawberry.mutation(description="Decide an open conflict between an incident and its ticket")
    async def resolve_conflict(
        self,
        info: Resolving,
        id: str,  # noqa: A002
        ticket_id: str,
        external_field: str,
        side: ConflictSide,
        value: str = "",
        idempotency_key: Key = "",
    ) -> CommandPayload:
        """The decision is an event; ``value`` goes with the side VALUE."""
        principal, id_ = await _target(info, id)
        command = ticket_commands.ResolveConflict(id_, ticket_id, external_field, side.value, principal.actor, value)
        return await _carry_out(info, principal, command, idempotency_key)
