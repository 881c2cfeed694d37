"""The fold of one incident's events to its row: pure, from recorded times only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from projections.base import SequenceGap, bounded, instant
from streams.domain import events
from streams.domain.envelope import Envelope

COLUMNS = {
    "tenant_id": "text",
    "incident_id": "text",
    "number": "int8",
    "title": "text",
    "status": "text",
    "severity": "text",
    "service": "text",
    "description": "text",
    "assignee": "text",
    "acknowledged_by": "text",
    "acknowledged_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "resolved_at": "timestamptz",
    "closed_at": "timestamptz",
    "archived_at": "timestamptz",
    "revision": "int8",
    "sequence": "int8",
    "alert_count": "int8",
    "repeat_count": "int8",
    "firing_count": "int8",
    "first_signal_at": "timestamptz",
    "last_signal_at": "timestamptz",
    "merged_into": "text",
    "related_to": "text",
    "relation": "text",
    "rule": "text",
    "rule_version": "int8",
    "correlation_key": "text",
    "event_id": "text",
    "topic_partition": "int4",
    "topic_offset": "int8",
}


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One row of ``read.incidents``; its fields are the columns, in their order.

    ``revision`` moves only with what people edit (it is the ETag), ``sequence`` with every event. ``firing_count``
    counts alerts that fire, ``alert_count`` signals that were attached, ``repeat_count`` those that repeated one.
    """

    tenant_id: str
    incident_id: str
    number: int
    title: str
    status: str
    severity: str
    service: str
    description: str
    assignee: str
    acknowledged_by: str
    acknowledged_at: datetime | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    closed_at: datetime | None
    archived_at: datetime | None
    revision: int
    sequence: int
    alert_count: int
    repeat_count: int
    firing_count: int
    first_signal_at: datetime | None
    last_signal_at: datetime | None
    merged_into: str
    related_to: str
    relation: str
    rule: str
    rule_version: int
    correlation_key: str
    event_id: str
    topic_partition: int
    topic_offset: int


def fold(
    row: IncidentRow | None,
    envelope: Envelope,
    data: events.IncidentEvent,
    *,
    firing_change: int = 0,
    position: tuple[int, int] = (0, 0),
) -> IncidentRow:
    """The incident's row after the event; ``position`` is the event's (partition, offset).

    ``firing_change`` is how many more (or less) alerts fire after an event about alerts: it depends on the alerts'
    own states (``incident_alerts.change``). An event that the row contains already changes nothing. Raises
    ``SequenceGap`` when events are missing between the two.
    """
    before = row.sequence if row else 0
    if row is not None and envelope.sequence <= before:
        return row
    if envelope.sequence != before + 1 or isinstance(data, events.Declared) != (row is None):
        raise SequenceGap(
            f"tenant {envelope.tenantid}, incident {envelope.subject}: {type(data).__name__} has sequence"
            f" {envelope.sequence} after {before}"
        )
    if isinstance(data, events.Declared):
        return _declared(envelope, data, position)
    assert row is not None, "checked above"
    return replace(
        row,
        updated_at=instant(envelope.recordedtime),
        sequence=envelope.sequence,
        event_id=envelope.id,
        topic_partition=position[0],
        topic_offset=position[1],
        **_changes(row, instant(envelope.recordedtime), data, firing_change),
    )


def _declared(envelope: Envelope, data: events.Declared, position: tuple[int, int]) -> IncidentRow:
    recorded = instant(envelope.recordedtime)
    return IncidentRow(
        tenant_id=envelope.tenantid,
        incident_id=envelope.subject,
        number=data.number,
        title=data.title,
        status=data.status,
        severity=data.severity,
        service=bounded(data.service),
        description=data.description,
        assignee="",
        acknowledged_by="",
        acknowledged_at=None,
        created_at=recorded,
        updated_at=recorded,
        resolved_at=None,
        closed_at=None,
        archived_at=None,
        revision=1,
        sequence=envelope.sequence,
        alert_count=0,
        repeat_count=0,
        firing_count=0,
        first_signal_at=None,
        last_signal_at=None,
        merged_into="",
        related_to=data.related_to,
        relation=data.relation,
        rule=data.rule,
        rule_version=data.rule_version,
        correlation_key=data.correlation_key,
        event_id=envelope.id,
        topic_partition=position[0],
        topic_offset=position[1],
    )


def _changes(row: IncidentRow, recorded: datetime, data: events.IncidentEvent, firing_change: int) -> dict[str, Any]:
    """The columns that an event other than ``Declared`` changes."""
    match data:
        case events.AlertsAttached(alerts):
            return {**_signals(row, alerts, firing_change), "alert_count": row.alert_count + len(alerts)}
        case events.AlertsRepeated(alerts):
            return {**_signals(row, alerts, firing_change), "repeat_count": row.repeat_count + len(alerts)}
        case events.AlertsResolved(alerts):
            return _signals(row, alerts, firing_change)
        case events.NoteAdded() | events.EffectDelivered() | events.EffectFailed():
            return {}
        case events.Archived():
            return {"archived_at": recorded}
        case events.Declared():
            raise AssertionError("an incident is declared once")
        case _:
            return {**_edit(row, recorded, data), "revision": row.revision + 1}


_Edit = (
    events.Acknowledged
    | events.StateChange
    | events.Resolved
    | events.Closed
    | events.Assigned
    | events.SeverityChanged
    | events.FieldChanged
    | events.Merged
)


def _edit(row: IncidentRow, recorded: datetime, data: _Edit) -> dict[str, Any]:
    """What people edit: each is a new revision."""
    changes: dict[str, Any] = {}
    match data:
        case events.Acknowledged():
            changes = {"acknowledged_by": data.actor, "acknowledged_at": recorded}
        case events.StateChange():
            changes = {"status": data.to, "resolved_at": None, "closed_at": None}
        case events.Resolved():
            changes = {"status": "resolved", "resolved_at": recorded}
        case events.Closed():
            changes = {"status": data.to, "closed_at": recorded}
        case events.Assigned():
            changes = {"assignee": bounded(data.assignee)}
        case events.SeverityChanged():
            changes = {"severity": data.severity}
        case events.FieldChanged():
            changes = _field(data)
        case events.Merged(role="source"):
            changes = {"status": "closed", "closed_at": recorded, "merged_into": data.other}
        case events.Merged():
            counts = ("alert_count", "repeat_count", "firing_count")
            changes = {name: getattr(row, name) + getattr(data, name) for name in counts}
        case _:
            assert_never(data)
    return changes


def _field(data: events.FieldChanged) -> dict[str, Any]:
    """The edited column; a field that this version has no column for stays on the timeline."""
    if data.field == "service":
        return {"service": bounded(data.value)}
    return {data.field: data.value} if data.field in {"title", "description"} else {}


def _signals(row: IncidentRow, alerts: Iterable[events.Alert | events.AlertRef], firing_change: int) -> dict[str, Any]:
    times = [alert.event_time or alert.recorded_time for alert in alerts]
    if not times:
        return {}
    first, last = instant(min(times)), instant(max(times))
    return {
        "first_signal_at": min(row.first_signal_at or first, first),
        "last_signal_at": max(row.last_signal_at or last, last),
        "firing_count": max(row.firing_count + firing_change, 0),
    }
