"""One incident: what it is, and how events change it.

``evolve`` is the only fold: the orchestrator, projections, as-of reads and verification use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, assert_never

from streams.domain import events
from streams.domain.attachment_events import AttachmentEvent
from streams.domain.lifecycle import Status
from streams.domain.ticket_events import TicketEvent

MAX_EXTERNALS = 100
MAX_FAMILY = 50


class Relative(NamedTuple):
    """Another incident of the family: ``role`` is what that one is to this one, ``service`` is its own."""

    incident_id: str
    role: Literal["cause", "effect"]
    service: str


class Incident(NamedTuple):
    """The state of an incident; times in milliseconds of recorded time, 0 meaning not yet.

    ``revision`` moves only with what people edit, so that a storm of alerts does not make every ``If-Match`` stale.
    ``sequence`` and ``hash`` are those of its last event. ``status_event`` is the id of the event that set the status:
    timers name it, so that a timer of an earlier resolution cannot close a reopened incident.
    """

    id: str
    number: int
    title: str
    status: str
    severity: str
    service: str = ""
    description: str = ""
    assignee: str = ""
    acknowledged_by: str = ""
    acknowledged_at: int = 0
    severity_by_hand: bool = False
    created_at: int = 0
    updated_at: int = 0
    resolved_at: int = 0
    closed_at: int = 0
    archived_at: int = 0
    revision: int = 1
    sequence: int = 0
    hash: str = ""
    status_event: str = ""
    root_cause: str = ""
    alert_count: int = 0
    repeat_count: int = 0
    firing_count: int = 0
    first_signal_at: int = 0
    last_signal_at: int = 0
    merged_into: str = ""
    related_to: str = ""
    relation: str = ""
    rule: str = ""
    correlation_key: str = ""
    externals: tuple[events.External, ...] = ()
    family: tuple[Relative, ...] = ()


_PLACE = {name: place for place, name in enumerate(Incident._fields)}


def changed(incident: Incident, **changes: Any) -> Incident:
    """As ``_replace``, for what happens with every alert: that one looks at each of all the fields."""
    values = list(incident)
    for name, value in changes.items():
        values[_PLACE[name]] = value
    return tuple.__new__(Incident, values)


def evolve(incident: Incident | None, event: events.IncidentEvent, *, id_: str, at: int, cause: str = "") -> Incident:
    """The incident after an event; total over ``IncidentEvent``.

    ``at`` is the event's recorded time, ``cause`` its root cause (used by ``Declared``). Raises ``ValueError`` when the
    first event is not ``Declared`` or a later one is: such a history was damaged.
    """
    if isinstance(event, events.Declared):
        if incident is not None:
            raise ValueError(f"{id_} was declared twice")
        return _declared(event, id_, at, cause)
    if incident is None:
        raise ValueError(f"the history of {id_} begins with {type(event).__name__}")
    match event:
        case events.AlertsAttached(alerts):
            return _attached(incident, alerts, at)
        case events.AlertsRepeated(alerts):
            return changed(incident, repeat_count=incident.repeat_count + len(alerts), updated_at=at)
        case events.AlertsResolved(alerts):
            return changed(incident, firing_count=max(0, incident.firing_count - len(alerts)), updated_at=at)
        case events.Linked():
            return _linked(incident, event)._replace(updated_at=at)
        case events.NoteAdded() | events.EffectDelivered() | events.EffectFailed() | events.Flapping():
            return incident._replace(updated_at=at)
        case events.Archived():
            return incident._replace(archived_at=at, updated_at=at)
        case _ if isinstance(event, TicketEvent | AttachmentEvent):
            return incident._replace(updated_at=at)
        case _:
            return _edited(incident, event, at)._replace(revision=incident.revision + 1, updated_at=at)


def _linked(incident: Incident, event: events.Linked) -> Incident:
    role: Literal["cause", "effect"] = "cause" if event.role == "effect" else "effect"
    relative = Relative(event.other, role, event.other_service)
    return incident._replace(family=(*incident.family, relative)[:MAX_FAMILY])


_Edit = (
    events.Acknowledged
    | events.StateChange
    | events.Resolved
    | events.Closed
    | events.Assigned
    | events.SeverityChanged
    | events.FieldChanged
    | events.Merged
    | events.Split
)


def _declared(event: events.Declared, id_: str, at: int, cause: str) -> Incident:
    return Incident(
        id=id_,
        number=event.number,
        title=event.title,
        status=event.status,
        severity=event.severity,
        service=event.service,
        description=event.description,
        severity_by_hand=not event.actor.startswith("system:"),
        created_at=at,
        updated_at=at,
        root_cause=cause,
        related_to=event.related_to,
        relation=event.relation,
        rule=event.rule,
        correlation_key=event.correlation_key,
    )


def _attached(incident: Incident, alerts: tuple[events.Alert, ...], at: int) -> Incident:
    first, last = incident.first_signal_at, incident.last_signal_at
    found = []
    for alert in alerts:
        event_time = alert.event_time
        if event_time and (not first or event_time < first):
            first = event_time
        last = max(last, event_time)
        if alert.external_id:
            found.append(events.External(alert.connector, alert.integration_id, alert.external_id))
    return changed(
        incident,
        alert_count=incident.alert_count + len(alerts),
        firing_count=incident.firing_count + len(alerts),
        first_signal_at=first,
        last_signal_at=last,
        updated_at=at,
        externals=_with_externals(incident, found) if found else incident.externals,
    )


def _with_externals(incident: Incident, more: Iterable[events.External]) -> tuple[events.External, ...]:
    """The incident's external objects and more, each once, the first ``MAX_EXTERNALS``."""
    held = incident.externals
    if len(held) >= MAX_EXTERNALS:
        return held
    ids = {one.external_id for one in held}
    for one in more:
        if one.external_id not in ids or one not in held:  # most are new: to compare all the time takes longer
            held = (*held, one)
            ids.add(one.external_id)
    return held[:MAX_EXTERNALS]


def _edited(incident: Incident, event: _Edit, at: int) -> Incident:
    match event:
        case events.Acknowledged(actor):
            return incident._replace(acknowledged_by=actor, acknowledged_at=at)
        case events.StateChange(to=to):
            return incident._replace(status=to, resolved_at=0 if to == Status.OPEN else incident.resolved_at)
        case events.Resolved():
            return incident._replace(status=Status.RESOLVED.value, resolved_at=at)
        case events.Closed(to=to):
            return incident._replace(status=to, closed_at=at)
        case events.Assigned(assignee):
            return incident._replace(assignee=assignee)
        case events.SeverityChanged(severity, actor=actor):
            return incident._replace(severity=severity, severity_by_hand=not actor.startswith("system:"))
        case events.FieldChanged(field, value):
            return _set(incident, field, value)
        case events.Merged():
            return _merged(incident, event, at)
        case events.Split():
            return _split(incident, event)
        case _:
            assert_never(event)


def _set(incident: Incident, field: str, value: str) -> Incident:
    match field:
        case "title":
            return incident._replace(title=value)
        case "service":
            return incident._replace(service=value)
        case "description":
            return incident._replace(description=value)
        case _:
            raise ValueError(f"{field} is no field that people edit")


def _merged(incident: Incident, event: events.Merged, at: int) -> Incident:
    if event.role == "source":
        return incident._replace(status=Status.CLOSED.value, closed_at=at, merged_into=event.other, firing_count=0)
    return incident._replace(
        alert_count=incident.alert_count + event.alert_count,
        repeat_count=incident.repeat_count + event.repeat_count,
        firing_count=incident.firing_count + event.firing_count,
        externals=_with_externals(incident, event.externals),
    )


def _split(incident: Incident, event: events.Split) -> Incident:
    count = sum(alert.count for alert in event.alerts)
    if event.role == "source":
        return incident._replace(
            alert_count=max(0, incident.alert_count - count),
            firing_count=max(0, incident.firing_count - event.firing_count),
            externals=tuple(one for one in incident.externals if one not in event.externals),
        )
    first = min((alert.first for alert in event.alerts), default=incident.first_signal_at)
    last = max((alert.last for alert in event.alerts), default=incident.last_signal_at)
    return incident._replace(
        alert_count=incident.alert_count + count,
        firing_count=incident.firing_count + event.firing_count,
        first_signal_at=min(incident.first_signal_at or first, first),
        last_signal_at=max(incident.last_signal_at, last),
        externals=_with_externals(incident, event.externals),
    )
