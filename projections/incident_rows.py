"""One incident's events to its row, through the domain's own fold: pure, from recorded times only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from projections.base import Record, SequenceGap, bounded, instant, instant_or_none, milliseconds
from projections.decoding import jsonb
from streams.domain.incident import Incident, Relative, changed, evolve
from streams.domain.records import dataclass

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
    "correlation_key": "text",
    "family": "jsonb",
    "event_id": "text",
    "topic_partition": "int4",
    "topic_offset": "int8",
}

_SAME = (
    "number",
    "title",
    "status",
    "severity",
    "service",
    "description",
    "assignee",
    "acknowledged_by",
    "revision",
    "sequence",
    "alert_count",
    "repeat_count",
    "firing_count",
    "merged_into",
    "related_to",
    "relation",
    "rule",
    "correlation_key",
)

_TIMES = (
    "acknowledged_at",
    "created_at",
    "updated_at",
    "resolved_at",
    "closed_at",
    "archived_at",
    "first_signal_at",
    "last_signal_at",
)


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One row of ``read.incidents``; its fields are the columns, in their order.

    ``revision`` moves only with what people edit (it is the ETag), ``sequence`` with every event. ``firing_count``
    counts alerts that fire, ``alert_count`` signals that were attached, ``repeat_count`` those that repeated one.
    ``family`` are the fields of ``incident.Relative``.
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
    correlation_key: str
    family: list[list[str]]
    event_id: str
    topic_partition: int
    topic_offset: int


_FAMILY = tuple(COLUMNS).index("family")


def stored(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row of ``values`` as COPY takes it."""
    return (*row[:_FAMILY], jsonb(row[_FAMILY]), *row[_FAMILY + 1 :])


def to_incident(row: IncidentRow) -> Incident:
    """The incident as the domain folds it; what rows do not hold (hash, causes, externals) changes no row."""
    found: dict[str, Any] = {name: getattr(row, name) for name in _SAME}
    found.update((name, milliseconds(getattr(row, name))) for name in _TIMES)
    family = tuple(Relative(*one) for one in row.family)  # type: ignore[arg-type]  # the roles are as they were written
    return Incident(id=row.incident_id, family=family, **found)


def fold(incident: Incident | None, history: Sequence[Record]) -> Incident:
    """The incident after its next events, of which there is at least one, by the domain's own ``evolve``.

    Raises ``SequenceGap`` when an event is not the next one of the incident.
    """
    sequence = incident.sequence if incident else 0
    for record in history:
        envelope, sequence = record.envelope, sequence + 1
        if envelope.sequence != sequence:
            raise SequenceGap(
                f"tenant {envelope.tenantid}, incident {envelope.subject}: {type(record.data).__name__} has sequence"
                f" {envelope.sequence} after {sequence - 1}"
            )
        incident = evolve(incident, record.data, id_=envelope.subject, at=envelope.recordedtime)
    assert incident is not None, "there is an event"
    return changed(incident, sequence=sequence)


def values(incident: Incident, last: Record) -> tuple[Any, ...]:
    """The row in the order of ``COLUMNS``; ``last`` is the last event in it."""
    return (
        last.envelope.tenantid,
        incident.id,
        incident.number,
        incident.title,
        incident.status,
        incident.severity,
        bounded(incident.service),
        incident.description,
        bounded(incident.assignee),
        incident.acknowledged_by,
        instant_or_none(incident.acknowledged_at),
        instant(incident.created_at),
        instant(incident.updated_at),
        instant_or_none(incident.resolved_at),
        instant_or_none(incident.closed_at),
        instant_or_none(incident.archived_at),
        incident.revision,
        incident.sequence,
        incident.alert_count,
        incident.repeat_count,
        incident.firing_count,
        instant_or_none(incident.first_signal_at),
        instant_or_none(incident.last_signal_at),
        incident.merged_into,
        incident.related_to,
        incident.relation,
        incident.rule,
        incident.correlation_key,
        [list(one) for one in incident.family],
        last.envelope.id,
        last.partition,
        last.offset,
    )
