"""What a signal does: it is a duplicate, repeats or resolves a known alert, joins an incident or begins one."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

from streams.domain import correlation, events, families, flapping
from streams.domain.correlation import DAY_MS, MINUTE_MS, Match, Window
from streams.domain.envelope import Envelope
from streams.domain.errors import Reason, Rejected
from streams.domain.incident import Incident
from streams.domain.incident_decisions import moved
from streams.domain.lifecycle import ACTIVE, FINAL, Status
from streams.domain.message import Message
from streams.domain.received import Received
from streams.domain.recording import Recorder
from streams.domain.rules import severity_of, silence_of
from streams.domain.signals import SEVERITIES, ProviderIngested, Signal
from streams.domain.state import IDENTITY_BYTES, AlertState, TenantState

CORRELATION = "system:correlation"
CLOCK_AHEAD_MS = 5 * MINUTE_MS
"""How far a provider's clock may run ahead of the broker's before its time is not believed."""


def identity(envelope: Envelope) -> bytes:
    """The digest by which a delivery is known again: of its (source, id), as CloudEvents define identity."""
    return blake2b(
        f"{len(envelope.source)}:{envelope.source}{envelope.id}".encode(), digest_size=IDENTITY_BYTES
    ).digest()


def refused_identity(envelope: Envelope, reason: str, content: bytes) -> bytes:
    """The digest by which a delivery that was refused is known again: the same bytes, refused for the same reason."""
    text = identity(envelope) + reason.encode() + content
    return blake2b(text, digest_size=IDENTITY_BYTES, person=b"refused").digest()


def alert_key(source: str, fingerprint: str) -> str:
    """The key of an alert over its whole life: of its source and its fingerprint there."""
    return blake2b(f"{len(source)}:{source}{fingerprint}".encode(), digest_size=12).hexdigest()


def decide(state: TenantState, message: Message, signal: Signal, recorder: Recorder) -> None:
    """Decide a signal that was not seen before; its events go to ``recorder``."""
    now, rule_set = recorder.now, state.rule_set
    if rule_set.severities:
        signal = replace(signal, severity=severity_of(rule_set, signal, state.holds))
    event_time = signal.event_time or now
    fingerprint = signal.fingerprint or message.envelope.id
    received = Received(
        signal=signal,
        message=message,
        key=alert_key(message.envelope.source, fingerprint),
        fingerprint=fingerprint,
        # A clock that is wrong by more than this says nothing; clamping keeps the order of all that is believed.
        at=min(max(event_time, now - DAY_MS), now + CLOCK_AHEAD_MS),
    )
    if state.detects_flapping and flapping.holds_back(state, received, recorder):
        return
    if signal.status == "resolved":
        _resolve(state, received, recorder)
    else:
        _fire(state, received, recorder)


def _resolve(state: TenantState, received: Received, recorder: Recorder) -> None:
    known = state.alerts.get(received.key)
    incident = state.holder(known.incident_id) if known else None
    if known is None or incident is None:
        state.alerts.put(received.key, AlertState("", resolved=True, event_time=received.at))
        recorder.record_for_tenant(_kept(received, "resolved before it fired"))
    elif known.resolved or received.at < known.event_time:
        recorder.record(incident.id, events.AlertsRepeated((received.ref(),)))
    else:
        _resolved(state, received.ref(), incident, recorder)


def _resolved(state: TenantState, alert: events.AlertRef, incident: Incident, recorder: Recorder) -> None:
    state.alerts.put(alert.alert_key, AlertState(incident.id, resolved=True, event_time=alert.event_time))
    incident = recorder.record(incident.id, events.AlertsResolved((alert,)))
    over = not incident.firing_count and incident.status in {Status.OPEN, Status.MITIGATED}
    if over and _resolves_itself(state, incident):
        reason = "all its alerts are resolved"
        event = moved(incident, Status.RESOLVED, CORRELATION, reason, "", recorder.now, state.preferences.timers)
        recorder.record(incident.id, event)


def settle(state: TenantState, incident_id: str, recorder: Recorder) -> str:
    """Look again at the incident's flapping alerts whose time has come; the id of the incident that holds them.

    One that has been calm for its rule's window is no longer flapping, and becomes what its provider said last. Raises
    ``Rejected`` where none is due.
    """
    incident = state.holder(incident_id)
    found = flapping.due(state, incident, recorder.now) if incident else []
    if incident is None or not found:
        raise Rejected(Reason.NOT_DUE, "no flapping alert of the incident is due")
    for key, flap in found:
        over = flapping.look_again(state, key, incident, recorder)
        known = state.alerts.get(key)
        if over and flap.resolved and known is not None and not known.resolved:
            _resolved(state, flap.last, state.incidents.get(incident.id) or incident, recorder)
    return incident.id


def _resolves_itself(state: TenantState, incident: Incident) -> bool:
    """Whether the tenant, or the rule that began the incident, wants it resolved with its last alert."""
    by_rule = any(rule.auto_resolve for rule in state.rule_set.rules if rule.name == incident.rule)
    return by_rule or state.preferences.auto_resolve


def _fire(state: TenantState, received: Received, recorder: Recorder) -> None:
    known = state.alerts.get(received.key)
    incident = state.holder(known.incident_id) if known else None
    if known is None or incident is None:
        incident = _begin(state, received, recorder)
        if incident is not None and known is not None and received.at <= known.event_time:
            _resolved(state, replace(received, at=known.event_time).ref(), incident, recorder)
    elif received.at <= known.event_time and known.resolved:
        recorder.record(incident.id, events.AlertsRepeated((received.ref(),)))
    elif not _takes(incident, received.at):
        _begin(state, received, recorder, former=incident)
    elif known.resolved:
        match = correlation.match(state.rule_set.rules, received.signal, state.holds)
        _attach(state, received, (incident, match), recorder)
    else:
        if received.at > known.event_time:
            state.alerts.put(received.key, known._replace(event_time=received.at))
        recorder.record(incident.id, events.AlertsRepeated((received.ref(),)))


def _begin(
    state: TenantState, received: Received, recorder: Recorder, former: Incident | None = None
) -> Incident | None:
    """Put an alert that no incident holds where it belongs, unless a silence or its rule keeps it apart."""
    rule_set = state.rule_set
    silence = silence_of(rule_set, received.signal, recorder.now, state.holds)
    if silence is not None:
        recorder.record_for_tenant(_kept(received, f"silenced by {silence.name}: {silence.reason}"))
        return None
    match = correlation.match(rule_set.rules, received.signal, state.holds)
    if match is not None and match.rule.action == "record":
        recorder.record_for_tenant(_kept(received, f"only recorded, by rule {match.rule.name}"))
        return None
    return _attach(state, received, (_place(state, received, recorder, match, former), match), recorder)


def _takes(incident: Incident, at: int) -> bool:
    """Whether an incident takes an alert of this event time: it is active, or was when the alert fired."""
    return incident.status in ACTIVE or (incident.status not in FINAL and at <= incident.resolved_at)


def _place(
    state: TenantState, received: Received, recorder: Recorder, match: Match | None, former: Incident | None
) -> Incident:
    """The incident that the signal belongs to, opened where there is none."""
    relation = "recurrence" if former else ""
    windows = correlation.reachable(state.windows.get(match.key) or (), received.at, match.rule) if match else ()
    for window in windows:
        incident = state.holder(window.incident_id)
        if match is None or incident is None:
            continue
        full = correlation.is_full(window, received.at, incident.alert_count, match.rule)
        if not full and _takes(incident, received.at):
            return incident
        former, relation = incident, "continuation" if full else "recurrence"
    return recorder.declare(_declared(received, match, recorder.next_number(), former, relation))


def _declared(
    received: Received, match: Match | None, number: int, former: Incident | None, relation: str
) -> events.Declared:
    signal = received.signal
    return events.Declared(
        number=number,
        title=signal.title,
        severity=signal.severity,
        status=Status.OPEN,
        service=signal.service,
        description=signal.description,
        rule=match.rule.name if match else "",
        rule_version=match.rule.version if match else 0,
        correlation_key=match.key if match else "",
        related_to=former.id if former else "",
        relation=relation,
        actor=CORRELATION,
    )


def _attach(
    state: TenantState, received: Received, place: tuple[Incident, Match | None], recorder: Recorder
) -> Incident:
    incident, match = place
    state.alerts.put(received.key, AlertState(incident.id, resolved=False, event_time=received.at))
    if match is not None:
        _extend(state, match, incident, received.at, recorder.now)
    incident = recorder.record(incident.id, events.AlertsAttached((received.alert(match),)))
    severity = received.signal.severity
    is_other = severity != incident.severity and not incident.severity_by_hand
    if is_other and SEVERITIES.index(severity) < SEVERITIES.index(incident.severity):
        incident = recorder.record(incident.id, events.SeverityChanged(severity, incident.severity, CORRELATION))
    return families.note(state, received.signal.service, incident, received.at, recorder)


def _extend(state: TenantState, match: Match, incident: Incident, at: int, now: int) -> None:
    """Stretch the incident's window over the event time, or open one; windows out of reach make room."""
    others = []
    first = last = at
    for window in state.windows.get(match.key) or ():
        held_by = incident if window.incident_id == incident.id else state.holder(window.incident_id)
        if held_by is not None and held_by.id == incident.id:
            first, last = min(first, window.first), max(last, window.last)
        elif held_by is not None and correlation.expires(window, match.rule) >= now:
            others.append(window)
    state.windows.put(match.key, (*others[-_OTHER_WINDOWS:], Window(incident.id, first, last, now)))


_OTHER_WINDOWS = 7
"""How many other windows a key keeps: more than that within reach of each other are not worth telling apart."""


def _kept(received: Received, problem: str) -> ProviderIngested:
    envelope, signal = received.message.envelope, received.signal
    return ProviderIngested(
        connector=signal.connector,
        integration_id=signal.integration_id,
        provider_type=envelope.type,
        external_id=signal.external_id,
        problem=problem,
        raw=signal.raw,
        raw_ref=signal.raw_ref,
        delivery_source=envelope.source,
        delivery_id=envelope.id,
    )
