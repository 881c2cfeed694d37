"""What each alert of an incident is doing now: firing or resolved, by the newest of its signals' own times."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from datetime import datetime

from projections.base import bounded, instant
from streams.domain import events

COLUMNS = {
    "tenant_id": "text",
    "incident_id": "text",
    "alert_key": "text",
    "firing": "bool",
    "occurrences": "int8",
    "first_seen": "timestamptz",
    "last_seen": "timestamptz",
    "title": "text",
    "fingerprint": "text",
    "connector": "text",
    "integration_id": "text",
    "external_id": "text",
}

AlertEvent = events.AlertsAttached | events.AlertsRepeated | events.AlertsResolved
Key = tuple[str, str, str]
"""Tenant, incident and alert key."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """One alert of an incident; ``occurrences`` counts its signals, the resolving ones among them."""

    firing: bool
    occurrences: int
    first_seen: datetime
    last_seen: datetime
    title: str
    fingerprint: str
    connector: str
    integration_id: str
    external_id: str


def keys(tenant_id: str, incident_id: str, data: AlertEvent) -> list[Key]:
    """The alerts that the event is about."""
    return [(tenant_id, incident_id, bounded(alert.alert_key)) for alert in data.alerts]


def change(states: MutableMapping[Key, AlertState], tenant_id: str, incident_id: str, data: AlertEvent) -> int:
    """Fold the event into ``states`` and return how many more alerts fire than before.

    The signal with the newest event time decides; at equal times the alert is resolved. So a resolved alert whose
    firing arrives late stays resolved.
    """
    firing = not isinstance(data, events.AlertsResolved)
    difference = 0
    alerts: tuple[events.Alert | events.AlertRef, ...] = data.alerts
    for key, alert in zip(keys(tenant_id, incident_id, data), alerts, strict=True):
        before = states.get(key)
        after = _folded(before, alert, firing=firing)
        states[key] = after
        difference += after.firing - (before is not None and before.firing)
    return difference


def _folded(state: AlertState | None, alert: events.Alert | events.AlertRef, *, firing: bool) -> AlertState:
    at = instant(alert.event_time or alert.recorded_time)
    external_id = alert.external_id if isinstance(alert, events.Alert) else ""
    if state is None:
        return AlertState(
            firing,
            1,
            at,
            at,
            alert.title,
            bounded(alert.fingerprint),
            alert.connector,
            alert.integration_id,
            external_id,
        )
    newest = at > state.last_seen or (at == state.last_seen and not firing)
    return AlertState(
        firing if newest else state.firing,
        state.occurrences + 1,
        min(state.first_seen, at),
        max(state.last_seen, at),
        state.title or alert.title,
        state.fingerprint or bounded(alert.fingerprint),
        state.connector or alert.connector,
        state.integration_id or alert.integration_id,
        state.external_id or external_id,
    )
