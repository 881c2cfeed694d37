"""What each alert of an incident is doing now: firing or resolved, and since when it is known."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from datetime import datetime
from typing import get_args

from projections.base import Record, bounded, instant
from streams.domain import events
from streams.domain.records import dataclass

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
_ALERT_EVENTS = get_args(AlertEvent)
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


def said(tenant_id: str, incident_id: str, history: Iterable[Record]) -> list[tuple[int, list[Key], AlertEvent]]:
    """The events of an incident that are about alerts: each one's sequence, its alerts and what it says."""
    return [
        (record.envelope.sequence, [(tenant_id, incident_id, bounded(alert.alert_key)) for alert in data.alerts], data)
        for record in history
        if isinstance(data := record.data, _ALERT_EVENTS)
    ]


def change(states: MutableMapping[Key, AlertState], about: Sequence[Key], data: AlertEvent) -> None:
    """Fold the event, which is about these alerts (as ``said`` has them), into ``states``.

    The order of the record decides: an alert fires once it was attached, until it is resolved. Which signal counts
    when they arrive out of order, the orchestrator has decided already; what changes nothing is a repetition.
    """
    firing = isinstance(data, events.AlertsAttached)
    keeps = isinstance(data, events.AlertsRepeated)
    alerts: tuple[events.Alert | events.AlertRef, ...] = data.alerts
    for key, alert in zip(about, alerts, strict=True):
        state = states.get(key)
        if state is None:
            states[key] = _begun(alert, firing=firing)
        else:
            states[key] = _folded(state, alert, firing=state.firing if keeps else firing)


def _begun(alert: events.Alert | events.AlertRef, *, firing: bool) -> AlertState:
    at = instant(alert.event_time or alert.recorded_time)
    external_id = alert.external_id if isinstance(alert, events.Alert) else ""
    return AlertState(
        firing, 1, at, at, alert.title, bounded(alert.fingerprint), alert.connector, alert.integration_id, external_id
    )


def _folded(state: AlertState, alert: events.Alert | events.AlertRef, *, firing: bool) -> AlertState:
    at = instant(alert.event_time or alert.recorded_time)
    external_id = alert.external_id if isinstance(alert, events.Alert) else ""
    return AlertState(
        firing,
        state.occurrences + 1,
        min(state.first_seen, at),
        max(state.last_seen, at),
        state.title or alert.title,
        state.fingerprint or bounded(alert.fingerprint),
        state.connector or alert.connector,
        state.integration_id or alert.integration_id,
        state.external_id or external_id,
    )
