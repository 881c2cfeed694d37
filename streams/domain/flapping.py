"""Flapping: alerts that change between firing and resolved more often than their rule takes for real.

The rule is that of the alert's incident. While an alert is flapping and its rule stops incidents, the incident goes on
holding it as firing and notes each signal as a repetition: nothing is resolved, reopened or begun because of it. Where
the rule stops effects, what its signals cause is recorded without any. A timer looks at it again.
"""

from __future__ import annotations

from streams.domain import events
from streams.domain.correlation import Rule
from streams.domain.incident import Incident
from streams.domain.received import Received
from streams.domain.recording import Recorder
from streams.domain.state import Flap, TenantState


def holds_back(state: TenantState, received: Received, recorder: Recorder) -> bool:
    """Count what the signal changes; true when it was recorded here, because its alert is flapping."""
    known = state.alerts.get(received.key)
    incident = state.holder(known.incident_id) if known else None
    flap = state.flaps.get(received.key)
    rule = _rule(state, flap.rule if flap else incident.rule) if incident else None
    if known is None or incident is None or rule is None:
        if flap is not None:
            state.flaps.drop(received.key)
        return False
    is_held = flap is not None and flap.due > 0 and "incidents" in rule.flap_stops
    was_resolved, last_at = (flap.resolved, flap.last.event_time) if flap and is_held else known[1:]
    resolved = received.signal.status == "resolved"
    if resolved != was_resolved and received.at > last_at:
        flap = _changed(state, received, incident, (rule, flap), recorder)
    if flap is None or not flap.due:
        return False
    recorder.quiet = "effects" in rule.flap_stops
    if "incidents" not in rule.flap_stops:
        return False
    recorder.record(incident.id, events.AlertsRepeated((received.ref(),)))
    return True


def _rule(state: TenantState, name: str) -> Rule | None:
    """The rule of this name, if it looks for flapping."""
    return next((rule for rule in state.rule_set.rules if rule.name == name and rule.flap_changes), None)


def _changed(
    state: TenantState, received: Received, incident: Incident, known: tuple[Rule, Flap | None], recorder: Recorder
) -> Flap:
    """Note a change; an alert begins to flap while it is held as firing, so that it is not lost from sight."""
    rule, flap = known
    resolved, now = received.signal.status == "resolved", recorder.now
    recent = [at for at in flap.changes if now - at <= rule.flap_window_ms] if flap else []
    changes = (*recent, now)[-rule.flap_changes - 1 :]
    due = flap.due if flap else 0
    starts = not due and len(changes) > rule.flap_changes and (resolved or "incidents" not in rule.flap_stops)
    if starts:
        due = now + rule.flap_window_ms
    flap = Flap(rule.name, changes, rule.flap_window_ms, due, resolved, received.ref())
    state.flaps.put(received.key, flap)
    if starts:
        recorder.record(incident.id, _event("started", flap, rule.flap_stops))
    return flap


def _event(what: events.FlappingState, flap: Flap, stops: tuple[str, ...]) -> events.Flapping:
    return events.Flapping(what, (flap.last,), flap.rule, len(flap.changes), flap.window_ms, stops, flap.due)


def due(state: TenantState, incident: Incident, now: int) -> list[tuple[str, Flap]]:
    """The incident's flapping alerts that are to be looked at again."""
    found = []
    for key in sorted(state.flaps):
        flap, known = state.flaps.get(key), state.alerts.get(key)
        held_by = state.holder(known.incident_id) if known else None
        if flap is not None and 0 < flap.due <= now and held_by is not None and held_by.id == incident.id:
            found.append((key, flap))
    return found


def look_again(state: TenantState, key: str, incident: Incident, recorder: Recorder) -> bool:
    """Whether the alert has been calm for its window; recorded either way."""
    flap = state.flaps.get(key)
    assert flap is not None, "the caller has found it"
    rule = _rule(state, flap.rule)
    stops = rule.flap_stops if rule else ()
    calm_at = flap.changes[-1] + flap.window_ms
    if recorder.now >= calm_at or rule is None:
        state.flaps.drop(key)
        recorder.record(incident.id, _event("ended", flap._replace(due=0), stops))
        return True
    flap = flap._replace(due=calm_at)
    state.flaps.put(key, flap)
    recorder.record(incident.id, _event("continued", flap, stops))
    return False
