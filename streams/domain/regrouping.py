"""Merging and splitting incidents: by people, or because a rule set is applied to what was."""

from __future__ import annotations

from streams.domain import attaching, commands, events, families
from streams.domain import incident_decisions as incidents
from streams.domain.configuring import check_deciding
from streams.domain.errors import Reason, Rejected
from streams.domain.incident import Incident
from streams.domain.incident_decisions import MAX_TEXT, MAX_TITLE, check_length, check_severity
from streams.domain.lifecycle import ACTIVE, FINAL, Status
from streams.domain.recording import Recorder
from streams.domain.state import TenantState

MOST_ALERTS = 200
"""How many alerts one command takes out of an incident: as many as one event holds."""


def merge(state: TenantState, source: Incident, target: Incident, command: commands.Merge, recorder: Recorder) -> str:
    """Fold one incident, with its family, files and links, into another; the id of the other. Raises ``Rejected``."""
    _by_rules(state, command.by_rules, recorder)
    timers = state.preferences.timers
    on_source, on_target = incidents.merge(source, target, command, now=recorder.now, timers=timers)
    recorder.record(source.id, on_source)
    families.inherit(state, source, recorder.record(target.id, on_target), recorder)
    attaching.inherit(state, source, target, recorder)
    return target.id


def split(state: TenantState, source: Incident, command: commands.Split, recorder: Recorder) -> str:
    """Take alerts out of an incident; the id of the one that holds them now. Raises ``Rejected``."""
    _by_rules(state, command.by_rules, recorder)
    check_length("reason", command.reason, MAX_TEXT)
    _check_open(source)
    firing = _firing(state, source, command)
    target = _target(state, source, command, recorder)
    externals = tuple(one for one in command.externals if one in source.externals)
    why = (command.actor, firing, externals, command.reason, command.by_rules)
    recorder.record(source.id, events.Split("source", target.id, command.alerts, *why))
    recorder.record(target.id, events.Split("target", source.id, command.alerts, *why))
    for alert in command.alerts:
        known = state.alerts.get(alert.alert_key)
        if known is not None:
            state.alerts.put(alert.alert_key, known._replace(incident_id=target.id))
    if not command.into and source.status not in ACTIVE:
        event = incidents.moved(
            target, Status.RESOLVED, command.actor, command.reason, "", recorder.now, state.preferences.timers
        )
        recorder.record(target.id, event)
    return target.id


def _by_rules(state: TenantState, by_rules: str, recorder: Recorder) -> None:
    """What a rule set changes in hindsight must be what the tenant goes by, and nobody is told."""
    if by_rules:
        check_deciding(state, by_rules)
        recorder.quiet = True


def _check_open(incident: Incident) -> None:
    if incident.merged_into:
        raise Rejected(Reason.MERGED_INCIDENT, f"INC-{incident.number} was merged into {incident.merged_into}")
    if incident.status in FINAL:
        raise Rejected(Reason.ILLEGAL_TRANSITION, f"INC-{incident.number} is {incident.status}, its alerts stay")


def _firing(state: TenantState, source: Incident, command: commands.Split) -> int:
    """How many of the alerts fire; raises ``Rejected`` unless the incident holds each of them."""
    keys = {alert.alert_key for alert in command.alerts}
    if not keys or len(command.alerts) > MOST_ALERTS or len(keys) < len(command.alerts):
        raise Rejected(Reason.EMPTY_VALUE, f"name from 1 to {MOST_ALERTS} alerts, each once")
    firing = 0
    for alert in command.alerts:
        known = state.alerts.get(alert.alert_key)
        held_by = state.holder(known.incident_id) if known else None
        if known is None or held_by is None or held_by.id != source.id:
            raise Rejected(Reason.UNKNOWN_ALERT, f"INC-{source.number} holds no alert {alert.alert_key}")
        firing += not known.resolved
    return firing


def _target(state: TenantState, source: Incident, command: commands.Split, recorder: Recorder) -> Incident:
    if command.into:
        target = state.incidents.get(command.into)
        if target is None or target.archived_at:
            raise Rejected(Reason.UNKNOWN_INCIDENT, f"there is no incident {command.into}, or it is archived")
        if target.id == source.id:
            raise Rejected(Reason.SAME_INCIDENT, "an incident cannot be split into itself")
        _check_open(target)
        return target
    if not command.title.strip():
        raise Rejected(Reason.EMPTY_VALUE, "an incident needs a title")
    check_length("title", command.title, MAX_TITLE)
    check_length("service", command.service, MAX_TITLE)
    check_severity(command.severity)
    return recorder.declare(
        events.Declared(
            number=recorder.next_number(),
            title=command.title,
            severity=command.severity,
            status=Status.OPEN,
            service=command.service,
            rule=command.rule,
            rule_version=command.rule_version,
            correlation_key=command.correlation_key,
            related_to=source.id,
            relation="split",
            actor=command.actor,
        )
    )
