"""Decides one message of a tenant: the entry to the core, which composes its parts and holds no rule of its own."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from streams.domain import alerts, attaching, commands, events, families, regrouping, ticketing
from streams.domain import incident_decisions as incidents
from streams.domain.attachment_commands import AddLink, AttachFile, RemoveAttachment, RemoveLink
from streams.domain.chain import tenant_salt
from streams.domain.configuring import configure
from streams.domain.describing import described
from streams.domain.erasing import Erasing, erase
from streams.domain.errors import InvalidEvent, Reason, Rejected
from streams.domain.incident import Incident
from streams.domain.message import Fact, Message
from streams.domain.recording import Recorder
from streams.domain.signals import SEVERITIES, ProviderIngested, Signal
from streams.domain.state import Outcome, TenantState
from streams.domain.ticket_commands import LinkTicket, ReconcileTickets, ResolveConflict, SetMapping, UnlinkTicket
from streams.domain.ticket_files import FilesObserved, RecordFiles
from streams.domain.tickets import RecordTicket, TicketObserved

_DELIVERED = (Signal, ProviderIngested, TicketObserved, FilesObserved)
Disposition = Literal["decided", "duplicate", "refused", "accepted", "rejected", "answered"]


@dataclass(slots=True)
class Decision:
    """What a message caused: its events, and where its outcome is kept (empty for what is no command)."""

    disposition: Disposition
    facts: list[Fact]
    outcome: str = ""


def decide(state: TenantState, message: Message) -> Decision:
    """Decide a message and fold what it causes into the state.

    Raises ``InvalidEvent`` for input that can never be decided; the caller then rolls the state back and refuses it.
    """
    now = _advance(state, message)
    recorder = Recorder(state, message, now)
    data = message.data
    if isinstance(data, _DELIVERED):
        identity = alerts.identity(message.envelope)
        if identity in state.known:
            return Decision("duplicate", [])
        state.remember(identity)
        if isinstance(data, Signal):
            if data.severity not in SEVERITIES or data.status not in {"firing", "resolved"}:
                raise InvalidEvent("invalid-signal", f"severity {data.severity!r}, status {data.status!r}")
            alerts.decide(state, message, data, recorder)
        elif isinstance(data, ProviderIngested):
            _ingest(state, message, data, recorder)
        else:
            ticketing.observe(state, data, recorder)
        ticketing.follow(state, recorder)
        return Decision("decided", recorder.facts)
    return _command(state, message, data, recorder)


def _advance(state: TenantState, message: Message) -> int:
    """Move the tenant's clock to the message's recorded time, or to a timer's due time, never back (R2, R8)."""
    due = message.data.due if isinstance(message.data, commands.FireTimer) else 0
    if not state.head.salt:
        state.set_head(salt=tenant_salt(state.tenant, message.envelope.id, message.recorded))
    return state.advance(max(message.recorded, due))


def _ingest(state: TenantState, message: Message, data: ProviderIngested, recorder: Recorder) -> None:
    """Keep a provider's message, and do what it asks of the incident that holds its object."""
    if data.problem:
        raise InvalidEvent("not-understood", data.problem)
    envelope = message.envelope
    recorder.record_for_tenant(
        ProviderIngested(
            connector=data.connector,
            integration_id=data.integration_id,
            provider_type=data.provider_type,
            action=data.action,
            external_id=data.external_id,
            actor=data.actor,
            text=data.text,
            raw=data.raw,
            raw_ref=data.raw_ref,
            delivery_source=envelope.source,
            delivery_id=envelope.id,
        )
    )
    known = state.alerts.get(alerts.alert_key(envelope.source, data.external_id)) if data.action != "none" else None
    incident = state.holder(known.incident_id) if known else ticketing.commented(state, data)
    if incident is None:
        return
    actor = data.actor or f"integration:{data.integration_id}"
    command: incidents.IncidentCommand = (
        commands.Acknowledge(incident.id, actor, data.integration_id)
        if data.action == "acknowledge"
        else commands.AddNote(incident.id, data.text[: incidents.MAX_TEXT], actor, data.integration_id)
    )
    try:
        for event in incidents.decide(incident, command, now=recorder.now, timers=state.preferences.timers):
            recorder.record(incident.id, event)
    except Rejected:
        # What the provider did stays on record as its own message; ours is in a state that does not take it.
        return


def _command(state: TenantState, message: Message, command: commands.Command, recorder: Recorder) -> Decision:
    command_id, content = message.envelope.id, _content(command)
    kept = state.outcomes.get(command_id)
    if kept is not None and kept.content == content:
        return Decision("answered", [], command_id)
    if kept is not None:
        # Under a name of its own, so that the outcome of the first use stays what it was.
        command_id = f"{command_id}#{content}"
        outcome = Outcome(
            content, recorder.now, reason=Reason.REUSED_KEY, detail="the key was used for another command"
        )
        state.outcomes.put(command_id, outcome)
        return Decision("rejected", [], command_id)
    mark = len(state.journal.undo)
    try:
        incident_id = _carry_out(state, command, recorder)
        ticketing.follow(state, recorder)
    except Rejected as error:
        state.journal.rollback(mark)
        incident_id = getattr(command, "incident_id", "")
        state.outcomes.put(command_id, Outcome(content, recorder.now, incident_id, error.reason, error.detail))
        return Decision("rejected", [], command_id)
    state.outcomes.put(command_id, Outcome(content, recorder.now, incident_id))
    return Decision("accepted", recorder.facts, command_id)


def _carry_out(state: TenantState, command: commands.Command, recorder: Recorder) -> str:
    """Record what a command causes; the id of the incident that it was about, or empty."""
    timers = state.preferences.timers
    match command:
        case commands.Declare():
            incident = recorder.declare(incidents.declare(command, recorder.next_number()))
            return families.note(state, incident.service, incident, recorder.now, recorder).id
        case commands.FireTimer(incident_id=incident_id, timer="settle"):
            return alerts.settle(state, incident_id, recorder)
        case commands.Merge() | commands.Split():
            return _regroup(state, command, recorder)
        case commands.Release(actor):
            state.set_head(parked=False, poison=0)
            recorder.record_for_tenant(events.Configured("tenant", "released", actor))
            return ""
        case commands.Erase():
            erasing = Erasing(command.identifier, command.pseudonym)
            erase(state, erasing)
            content = {"reason": erasing.text(command.reason)}
            recorder.record_for_tenant(events.Configured("erasure", command.pseudonym, command.actor, content))
            return ""
        case (
            commands.SetSubscription()
            | commands.SetRuleSet()
            | commands.ChangeRuleSet()
            | commands.ApplyRules()
            | commands.SetPreferences()
        ):
            recorder.record_for_tenant(configure(state, command))
            return ""
        case SetMapping():
            ticketing.configure(state, command, recorder)
            return ""
        case RecordTicket() | RecordFiles():
            return ticketing.record(state, command, recorder)
        case LinkTicket() | UnlinkTicket() | ResolveConflict() | ReconcileTickets():
            known = _find(state, command.incident_id) if command.incident_id else None
            return ticketing.carry_out(state, command, known, recorder)
        case AttachFile() | RemoveAttachment() | AddLink() | RemoveLink():
            incident = _find(state, command.incident_id)
            attaching.carry_out(state, incident, command, recorder)
            return incident.id
        case _:
            incident = _find(state, command.incident_id)
            for event in incidents.decide(incident, command, now=recorder.now, timers=timers):
                if isinstance(event, events.Archived):
                    ticketing.release(state, recorder, incident.id)
                recorder.record(incident.id, event)
                if isinstance(event, events.Archived):
                    _forget(state, incident.id)
            return incident.id


def _regroup(state: TenantState, command: commands.Merge | commands.Split, recorder: Recorder) -> str:
    source = _find(state, command.incident_id)
    if isinstance(command, commands.Split):
        return regrouping.split(state, source, command, recorder)
    return regrouping.merge(state, source, _find(state, command.into), command, recorder)


def _find(state: TenantState, incident_id: str) -> Incident:
    incident = state.incidents.get(incident_id)
    if incident is None:
        raise Rejected(Reason.UNKNOWN_INCIDENT, f"there is no incident {incident_id}, or it is archived")
    if incident.archived_at:
        raise Rejected(Reason.ARCHIVED_INCIDENT, f"INC-{incident.number} is archived")
    return incident


def _forget(state: TenantState, incident_id: str) -> None:
    """Let go of what an archived incident holds; the incident itself goes when its last event is sealed."""
    for key in sorted(state.alerts_of.get(incident_id, ())):
        state.alerts.drop(key)
        state.flaps.drop(key)
    state.attached.drop(incident_id)


def _content(command: commands.Command) -> str:
    """A digest of what a command asks, by which a key that is used again for something else is noticed."""
    text = f"{type(command).__name__}{sorted(described(command).items())}"
    return blake2b(text.encode(), digest_size=8).hexdigest()
