"""What commands do to one incident: the events that they cause, or why they are refused."""

from __future__ import annotations

from typing import assert_never

from streams.domain import commands, events
from streams.domain.errors import Reason, Rejected
from streams.domain.incident import Incident
from streams.domain.lifecycle import FINAL, Status, Timers, check_mergeable, transition
from streams.domain.signals import SEVERITIES

MAX_TITLE = 500
MAX_TEXT = 16_000
EDITABLE = ("title", "service", "description")

IncidentCommand = (
    commands.Acknowledge
    | commands.ChangeState
    | commands.Assign
    | commands.SetSeverity
    | commands.ChangeFields
    | commands.AddNote
    | commands.FireTimer
    | commands.RecordEffect
)


def decide(incident: Incident, command: IncidentCommand, *, now: int, timers: Timers) -> list[events.IncidentEvent]:
    """The events that a command causes; none where the incident already is as asked.

    Raises ``Rejected`` with the reason when the incident does not allow it.
    """
    if incident.merged_into and not isinstance(command, commands.FireTimer | commands.RecordEffect):
        raise Rejected(Reason.MERGED_INCIDENT, f"merged into {incident.merged_into}")
    match command:
        case commands.Acknowledge(_, actor, via):
            if incident.status in FINAL:
                raise Rejected(
                    Reason.ILLEGAL_TRANSITION, f"an incident that is {incident.status} needs no acknowledgement"
                )
            return [] if incident.acknowledged_by else [events.Acknowledged(actor, via)]
        case commands.ChangeState():
            check_revision(incident, command.expected_revision)
            return _change_state(incident, command, now, timers)
        case commands.Assign():
            check_revision(incident, command.expected_revision)
            if command.assignee == incident.assignee:
                return []
            check_length("assignee", command.assignee, MAX_TITLE)
            return [events.Assigned(command.assignee, incident.assignee, command.actor)]
        case commands.SetSeverity():
            return _set_severity(incident, command)
        case commands.ChangeFields():
            return _change_fields(incident, command)
        case commands.AddNote(_, text, actor, via):
            if not text.strip():
                raise Rejected(Reason.EMPTY_VALUE, "a note needs text")
            check_length("text", text, MAX_TEXT)
            return [events.NoteAdded(text, actor, via)]
        case commands.FireTimer():
            return _fire(incident, command, now, timers)
        case commands.RecordEffect():
            return [_effect(command)]
        case _:
            assert_never(command)


def declare(command: commands.Declare, number: int) -> events.Declared:
    """The beginning of an incident that a person declares; raises ``Rejected`` for values outside their limits."""
    if not command.title.strip():
        raise Rejected(Reason.EMPTY_VALUE, "an incident needs a title")
    check_length("title", command.title, MAX_TITLE)
    check_length("service", command.service, MAX_TITLE)
    check_length("description", command.description, MAX_TEXT)
    check_severity(command.severity)
    return events.Declared(
        number=number,
        title=command.title,
        severity=command.severity,
        status=Status.DRAFT if command.draft else Status.OPEN,
        service=command.service,
        description=command.description,
        actor=command.actor,
    )


def merge(
    source: Incident, target: Incident, command: commands.Merge, *, now: int, timers: Timers
) -> tuple[events.Merged, events.Merged]:
    """The events on the source and on the target; raises ``Rejected`` when either does not allow it."""
    if source.id == target.id:
        raise Rejected(Reason.SAME_INCIDENT, "an incident cannot be merged into itself")
    check_revision(source, command.expected_revision)
    for incident in (source, target):
        if incident.merged_into:
            raise Rejected(Reason.MERGED_INCIDENT, f"INC-{incident.number} was merged into {incident.merged_into}")
    check_mergeable(source.status)
    if target.status in FINAL:
        raise Rejected(Reason.ILLEGAL_TRANSITION, f"INC-{target.number} is {target.status} and takes no other in")
    check_length("reason", command.reason, MAX_TEXT)
    counts, why = (source.alert_count, source.repeat_count, source.firing_count), (command.reason, command.by_rules)
    return (
        events.Merged("source", target.id, command.actor, *counts, timers.archive_due(now), (), *why),
        events.Merged("target", source.id, command.actor, *counts, 0, source.externals, *why),
    )


def check_revision(incident: Incident, expected: int) -> None:
    """Raise ``Rejected`` when the sender saw another revision (0: it does not care)."""
    if expected and expected != incident.revision:
        raise Rejected(Reason.STALE_REVISION, f"the revision is {incident.revision}, not {expected}")


def check_length(name: str, value: str, most: int) -> None:
    """Raise ``Rejected`` for a text of more than so many characters."""
    if len(value) > most:
        raise Rejected(Reason.TOO_LONG, f"{name} has {len(value)} characters, at most {most} are taken")


def check_severity(severity: str) -> None:
    """Raise ``Rejected`` for what is no severity."""
    if severity not in SEVERITIES:
        raise Rejected(Reason.UNKNOWN_SEVERITY, f"{severity!r} is none of {', '.join(SEVERITIES)}")


def _change_state(
    incident: Incident, command: commands.ChangeState, now: int, timers: Timers
) -> list[events.IncidentEvent]:
    if command.to == incident.status:
        return []
    check_length("reason", command.reason, MAX_TEXT)
    target = transition(incident.status, command.to, now=now, resolved_at=incident.resolved_at).target
    return [moved(incident, target, command.actor, command.reason, command.via, now, timers)]


def moved(
    incident: Incident, target: Status, actor: str, reason: str, via: str, now: int, timers: Timers
) -> events.IncidentEvent:
    """The event that says that the status became ``target``; the caller has checked that it may."""
    if target is Status.RESOLVED:
        return events.Resolved(incident.status, actor, reason, via, timers.close_due(now))
    if target in FINAL:
        return events.Closed(incident.status, target, actor, reason, via, timers.archive_due(now))
    return events.StateChange(incident.status, target, actor, reason, via)


def _set_severity(incident: Incident, command: commands.SetSeverity) -> list[events.IncidentEvent]:
    check_revision(incident, command.expected_revision)
    check_severity(command.severity)
    if command.severity == incident.severity:
        return []
    return [events.SeverityChanged(command.severity, incident.severity, command.actor)]


def _change_fields(incident: Incident, command: commands.ChangeFields) -> list[events.IncidentEvent]:
    check_revision(incident, command.expected_revision)
    changes: list[events.IncidentEvent] = []
    for name, value in sorted(command.fields.items()):
        if name not in EDITABLE:
            raise Rejected(Reason.UNKNOWN_FIELD, f"{name!r} is none of {', '.join(EDITABLE)}")
        check_length(name, value, MAX_TEXT if name == "description" else MAX_TITLE)
        if name == "title" and not value.strip():
            raise Rejected(Reason.EMPTY_VALUE, "an incident needs a title")
        previous = {"title": incident.title, "service": incident.service, "description": incident.description}[name]
        if value != previous:
            changes.append(events.FieldChanged(name, value, previous, command.actor))
    return changes


def _fire(incident: Incident, command: commands.FireTimer, now: int, timers: Timers) -> list[events.IncidentEvent]:
    if incident.status_event != command.cause_id:
        raise Rejected(Reason.NOT_DUE, "the incident has moved on since the timer was set")
    if command.timer == "close":
        reason = "not reopened in time"
        return [moved(incident, Status.CLOSED, command.actor, reason, "", now, timers)]
    return [events.Archived(command.actor)]


def _effect(command: commands.RecordEffect) -> events.IncidentEvent:
    if command.status == "delivered":
        return events.EffectDelivered(
            command.intent_id,
            command.connector,
            command.integration_id,
            command.action,
            command.attempts,
            command.external_ref,
            command.detail,
        )
    return events.EffectFailed(
        command.intent_id,
        command.connector,
        command.integration_id,
        command.action,
        command.attempts,
        expired=command.status == "expired",
        detail=command.detail,
    )
