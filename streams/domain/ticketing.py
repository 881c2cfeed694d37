"""The entry to what a tenant's tickets decide: observations, results, commands, and what follows from other events."""

from __future__ import annotations

from typing import assert_never

from streams.domain import events
from streams.domain.describing import described
from streams.domain.errors import Reason, Rejected
from streams.domain.file_results import FileIntake
from streams.domain.file_sync import FileSync
from streams.domain.incident import Incident
from streams.domain.mapping import FieldMapping, TicketMapping, fault
from streams.domain.recording import Recorder
from streams.domain.signals import SEVERITIES, ProviderIngested
from streams.domain.state import TenantState
from streams.domain.ticket_commands import (
    LinkTicket,
    ReconcileTickets,
    ResolveConflict,
    SetMapping,
    TicketCommand,
    UnlinkTicket,
)
from streams.domain.ticket_conflicts import Conflicts
from streams.domain.ticket_files import FilesObserved, RecordFiles
from streams.domain.ticket_intake import TicketIntake
from streams.domain.ticket_link import TicketLink, forced, internal, ticket_id, with_field
from streams.domain.ticket_sync import TicketSync
from streams.domain.tickets import RecordTicket, TicketObserved


def follow(state: TenantState, recorder: Recorder) -> None:
    """Do what the events of the message mean for tickets."""
    if state.mappings.keys or state.tickets.keys:  # without either there is nothing to follow
        TicketSync(state, recorder).after()


def observe(state: TenantState, seen: TicketObserved | FilesObserved, recorder: Recorder) -> None:
    """Take in what was seen of a ticket; one that is linked to nothing is kept as what its provider sent."""
    if isinstance(seen, FilesObserved):
        FileIntake(FileSync(state, recorder)).observe(seen)
    elif not TicketIntake(TicketSync(state, recorder)).observe(seen):
        envelope = recorder.message.envelope
        recorder.record_for_tenant(
            ProviderIngested(
                connector=seen.connector,
                integration_id=seen.integration_id,
                provider_type="ticket.unlinked",
                external_id=seen.external_id,
                actor=seen.updated_by,
                raw=seen.raw,
                raw_ref=seen.raw_ref,
                delivery_source=envelope.source,
                delivery_id=envelope.id,
            )
        )


def commented(state: TenantState, data: ProviderIngested) -> Incident | None:
    """The incident that a comment on a ticket belongs to; none where it is none of ours or comments stay outside."""
    key = state.ticket_index.by_external.get((data.integration_id, data.external_id))
    link = state.tickets.get(key) if key else None
    mapping = state.mappings.get(data.integration_id)
    if link is None or mapping is None or mapping.comments not in {"both", "in"} or data.action != "note":
        return None
    return state.incidents.get(link.follows)


def release(state: TenantState, recorder: Recorder, incident_id: str) -> None:
    """Let go of an incident's tickets, before it leaves memory."""
    TicketSync(state, recorder).release(incident_id)


def record(state: TenantState, command: RecordTicket | RecordFiles, recorder: Recorder) -> str:
    """Take in what became of an intent; the incident's id. Raises ``Rejected``."""
    if isinstance(command, RecordFiles):
        return FileIntake(FileSync(state, recorder)).record(command)
    return TicketIntake(TicketSync(state, recorder)).record(command)


def configure(state: TenantState, command: SetMapping, recorder: Recorder) -> None:
    """Go by another mapping; raises ``Rejected`` for one that cannot be used.

    Open conflicts of fields that it does not map any more are over: each side keeps its value, and nobody could decide
    them later.
    """
    before = state.mappings.get(command.integration_id)
    mapping = TicketMapping(
        command.integration_id,
        command.connector,
        command.version,
        command.fields,
        command.create_for,
        command.comments,
    )
    why = fault(mapping)
    unknown = sorted(set(command.create_for) - set(SEVERITIES))
    if unknown:
        why = f"create_for: {', '.join(unknown)} is no severity"
    if command.active and why:
        raise Rejected(Reason.INVALID_MAPPING, why)
    if command.active:
        state.mappings.put(command.integration_id, mapping)
    else:
        state.mappings.drop(command.integration_id)
    name = f"{command.integration_id}:{command.version}"
    recorder.record_for_tenant(events.Configured("mapping", name, command.actor, described(command)))
    if before is not None:
        _let_go(TicketSync(state, recorder), before, command)


def _let_go(sync: TicketSync, before: TicketMapping, command: SetMapping) -> None:
    """End the conflicts of the fields that only the former mapping had."""
    kept = {one.external_field for one in command.fields} if command.active else set[str]()
    conflicts = Conflicts(sync, before)
    for link in list(sync.state.tickets.values()):
        incident = sync.state.incidents.get(link.follows)
        if incident is None or link.integration_id != command.integration_id:
            continue
        for one in before.fields:
            if one.external_field not in kept:
                conflicts.close(link.ticket_id, one, "ours", internal(incident, one), command.actor)


def carry_out(state: TenantState, command: TicketCommand, incident: Incident | None, recorder: Recorder) -> str:
    """Do what a command asks; the id of the incident that it was about. Raises ``Rejected``."""
    sync = TicketSync(state, recorder)
    match command:
        case ReconcileTickets():
            _reconcile(sync, command)
        case LinkTicket():
            _link(sync, command, _known(incident))
        case UnlinkTicket():
            _known(incident)
            sync.unlink(_ticket(state, command), "command", "", command.actor)
        case ResolveConflict():
            _resolve(sync, command, _known(incident))
        case _:
            assert_never(command)
    return command.incident_id


def _known(incident: Incident | None) -> Incident:
    if incident is None:
        raise Rejected(Reason.UNKNOWN_INCIDENT, "the command names no incident")
    if incident.merged_into:
        raise Rejected(Reason.MERGED_INCIDENT, f"merged into {incident.merged_into}")
    return incident


def _ticket(state: TenantState, command: UnlinkTicket | ResolveConflict) -> TicketLink:
    link = state.tickets.get(command.ticket_id)
    if link is None or link.follows != command.incident_id or link.phase == "lost":
        raise Rejected(Reason.UNKNOWN_TICKET, f"the incident has no ticket {command.ticket_id}")
    return link


def _reconcile(sync: TicketSync, command: ReconcileTickets) -> None:
    state = sync.state
    links = [
        link
        for link in state.tickets.values()
        if (not command.incident_id or link.follows == command.incident_id)
        and (not command.integration_id or link.integration_id == command.integration_id)
        and link.phase in {"linked", "failed"}
    ]
    links.sort(key=lambda link: (link.checked_at, link.ticket_id))
    for link in links[: max(0, command.most)]:
        mapping = state.mappings.get(link.integration_id)
        incident = state.incidents.get(link.follows)
        if mapping is None or incident is None:
            continue
        if link.phase == "linked":
            sync.read(link.ticket_id)
            if command.incident_id or sync.files.of(link.ticket_id).copies:  # else each check would record a list
                sync.files.look(link.ticket_id)
            if command.incident_id:
                sync.files.retry(link.ticket_id)
            sync.files.advance(link.ticket_id)
        elif link.external_id:
            sync.link_existing(incident, mapping, link.external_id, link.requests)
        else:
            sync.create(incident, mapping, link)


def _link(sync: TicketSync, command: LinkTicket, incident: Incident) -> None:
    state = sync.state
    mapping = state.mappings.get(command.integration_id)
    if mapping is None:
        raise Rejected(Reason.UNKNOWN_MAPPING, f"integration {command.integration_id} has no mapping")
    link = state.tickets.get(ticket_id(incident.id, command.integration_id))
    if link is not None and link.phase not in {"lost", "failed"}:
        raise Rejected(Reason.TICKET_EXISTS, f"the incident has {link.external_key or 'a ticket in the making'} there")
    key = state.ticket_index.by_external.get((command.integration_id, command.external_id))
    if command.external_id and key is not None and key != (link.ticket_id if link else ""):
        raise Rejected(Reason.TICKET_EXISTS, f"{command.external_id} is linked to another incident")
    if command.external_id:
        sync.link_existing(incident, mapping, command.external_id, link.requests if link else 0)
    else:
        sync.create(incident, mapping, link)


def _resolve(sync: TicketSync, command: ResolveConflict, incident: Incident) -> None:
    link = _ticket(sync.state, command)
    mapping = sync.state.mappings.get(link.integration_id)
    one = mapping.by_external(command.external_field) if mapping else None
    if one is None:
        raise Rejected(Reason.UNKNOWN_FIELD, f"the mapping has no external field {command.external_field!r}")
    field = link.field(one.external_field)
    if not field.conflict:
        raise Rejected(Reason.NO_CONFLICT, f"{one.external_field} has no open conflict")
    value = _chosen(one, command, getattr(incident, one.field), field.at_stake)
    if one.image(value) is None and command.side != "theirs":
        raise Rejected(Reason.INVALID_MAPPING, f"the mapping has nothing for {value!r}")
    sync.take(link.ticket_id, one, value, command.actor)
    Conflicts(sync, _of(mapping)).close(link.ticket_id, one, command.side, value, command.actor)
    decided = sync.state.tickets.get(link.ticket_id)
    if decided is not None:
        sync.put(with_field(decided, forced(decided, one.external_field)))
    sync.advance(link.ticket_id)


def _of(mapping: TicketMapping | None) -> TicketMapping:
    if mapping is None:
        raise Rejected(Reason.UNKNOWN_MAPPING, "the integration has no mapping")
    return mapping


def _chosen(one: FieldMapping, command: ResolveConflict, ours: str, at_stake: str) -> str:
    """The value of ours that a decision is for."""
    if command.side == "ours":
        return ours
    if command.side == "value":
        return command.value
    meanings = one.meanings(at_stake)
    if len(meanings) != 1:
        known = ", ".join(meanings) or "nothing"
        raise Rejected(Reason.INVALID_MAPPING, f"{at_stake!r} means {known}: decide by a value of ours")
    return meanings[0]
