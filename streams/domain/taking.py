"""Taking over a value of a ticket: the events of the incident that it would cause, by the incident's own rules."""

from __future__ import annotations

from streams.domain import commands, events
from streams.domain import incident_decisions as incidents
from streams.domain.errors import Rejected
from streams.domain.incident import Incident, evolve
from streams.domain.lifecycle import Timers, route


def taking(
    incident: Incident, field: str, value: str, *, actor: str, via: str, now: int, timers: Timers
) -> list[events.IncidentEvent]:
    """The events that make ``value`` the incident's; raises ``Rejected`` where it does not allow it.

    ``via`` is the integration it came through. A state is reached over those in between.
    """
    if field == "status":
        return _moving(incident, value, actor=actor, via=via, now=now, timers=timers)
    command: incidents.IncidentCommand
    if field == "severity":
        command = commands.SetSeverity(incident.id, value, actor)
    elif field == "assignee":
        command = commands.Assign(incident.id, value, actor)
    else:
        command = commands.ChangeFields(incident.id, {field: value}, actor)
    return incidents.decide(incident, command, now=now, timers=timers)


def _moving(
    incident: Incident, to: str, *, actor: str, via: str, now: int, timers: Timers
) -> list[events.IncidentEvent]:
    found: list[events.IncidentEvent] = []
    for status in route(incident.status, to) if to != incident.status else ():
        command = commands.ChangeState(incident.id, status, actor, "as its ticket", via=via)
        for event in incidents.decide(incident, command, now=now, timers=timers):
            found.append(event)
            incident = evolve(incident, event, id_=incident.id, at=now)
    return found


def obstacle(incident: Incident, field: str, value: str, *, now: int, timers: Timers) -> str:
    """Why a value cannot be taken over; empty when it can."""
    try:
        taking(incident, field, value, actor="", via="", now=now, timers=timers)
    except Rejected as error:
        return error.detail
    return ""
