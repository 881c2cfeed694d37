"""The second level of correlation: incidents of services that depend on each other, near in time, are a family.

Which of two is the cause follows from the service graph: of a service and one that it depends on, the latter's. Where
both depend on each other, the one whose signals began earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from streams.domain import events
from streams.domain.correlation import Window
from streams.domain.incident import MAX_FAMILY, Incident
from streams.domain.lifecycle import Status
from streams.domain.recording import Recorder
from streams.domain.rules import Dependency
from streams.domain.state import TenantState

_RECENT = 8
"""How many incidents of one service are remembered for linking: of more at once, the newest count."""

Paths = dict[str, tuple[str, ...]]
"""The services that can be reached, each with the shortest path to it, both ends included."""


@lru_cache(maxsize=64)
def _edges(dependencies: tuple[Dependency, ...]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Who each service depends on, and who depends on it."""
    on: dict[str, list[str]] = {}
    by: dict[str, list[str]] = {}
    for one in dependencies:
        on.setdefault(one.service, []).append(one.on)
        by.setdefault(one.on, []).append(one.service)
    return on, by


@lru_cache(maxsize=4096)
def related(dependencies: tuple[Dependency, ...], service: str, depth: int) -> tuple[Paths, Paths]:
    """The services that ``service`` depends on, and those that depend on it, over at most ``depth`` steps."""
    on, by = _edges(dependencies)
    return _reach(on, service, depth), _reach(by, service, depth)


def _reach(edges: dict[str, list[str]], service: str, depth: int) -> Paths:
    found: Paths = {service: (service,)}
    border = [service]
    for _ in range(depth):
        following = []
        for one in border:
            for other in edges.get(one, ()):
                if other not in found:
                    found[other] = (*found[one], other)
                    following.append(other)
        border = following
    del found[service]
    return found


def note(state: TenantState, service: str, incident: Incident, at: int, recorder: Recorder) -> Incident:
    """A signal of ``service`` and event time ``at`` joined the incident: link it with what it now belongs to."""
    rule_set = state.rule_set
    if not rule_set.family_window_ms or not service:
        return incident
    causes, effects = related(rule_set.dependencies, service, rule_set.family_depth)
    if not causes and not effects:
        return incident
    mine = _extend(state, service, incident, at, recorder.now)
    for other, window, path, is_cause in _near(state, causes, effects, mine):
        apart = max(mine.first - window.last, window.first - mine.last, 0)
        incident = _link(recorder, incident, other, apart, path if is_cause else path[::-1], is_cause=is_cause)
    return incident


def inherit(state: TenantState, source: Incident, target: Incident, recorder: Recorder) -> None:
    """After a merge: link the target with the relatives of the incident that was folded into it."""
    rule_set = state.rule_set
    for relative in source.family:
        other = state.holder(relative.incident_id)
        if other is None or other.id == target.id:
            continue
        is_cause = relative.role == "cause"
        service = next((one.service for one in other.family if one.incident_id == source.id), source.service)
        ends = (service, relative.service) if is_cause else (relative.service, service)
        causes, _ = related(rule_set.dependencies, ends[0], rule_set.family_depth)
        path = causes.get(ends[1], ends)  # the services may no longer depend on each other: the incidents did
        target = _link(recorder, target, other, 0, path, is_cause=is_cause)


def _extend(state: TenantState, service: str, incident: Incident, at: int, now: int) -> Window:
    """The incident's span on the service's time line, stretched over ``at``."""
    mine = Window(incident.id, at, at, now)
    others = []
    for window in state.activity.get(service) or ():
        held_by = state.holder(window.incident_id)
        if held_by is not None and held_by.id == incident.id:
            mine = Window(incident.id, min(mine.first, window.first), max(mine.last, window.last), now)
        elif held_by is not None:
            others.append(window)
    state.activity.put(service, (*others[-_RECENT + 1 :], mine))
    return mine


def _near(
    state: TenantState, causes: Paths, effects: Paths, mine: Window
) -> Iterator[tuple[Incident, Window, tuple[str, ...], bool]]:
    """Incidents of related services within the window of ``mine``: with the path, and whether they are the cause."""
    for service in dict.fromkeys((*causes, *effects)):
        for window in state.activity.get(service) or ():
            if window.first - mine.last > state.rule_set.family_window_ms:
                continue
            if mine.first - window.last > state.rule_set.family_window_ms:
                continue
            other = state.holder(window.incident_id)
            if other is None or other.id == mine.incident_id or other.status == Status.CANCELED:
                continue
            is_cause = service in causes and (service not in effects or window.first < mine.first)
            yield other, window, causes[service] if is_cause else effects[service], is_cause


def _link(
    recorder: Recorder,
    incident: Incident,
    other: Incident,
    apart: int,
    path: tuple[str, ...],
    *,
    is_cause: bool,
) -> Incident:
    """Record the link on both sides, once; ``path`` leads from the effect's service to the cause's."""
    if len(incident.family) >= MAX_FAMILY or len(other.family) >= MAX_FAMILY:
        return incident
    if any(one.incident_id == other.id for one in incident.family):
        return incident
    by = recorder.state.rule_set.label
    effect, cause = path[0], path[-1]
    ends = (effect, cause) if is_cause else (cause, effect)
    recorder.record(
        other.id, events.Linked("cause" if is_cause else "effect", incident.id, *ends[::-1], path, apart, by)
    )
    return recorder.record(
        incident.id, events.Linked("effect" if is_cause else "cause", other.id, *ends, path, apart, by)
    )
