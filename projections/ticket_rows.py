"""Tickets and their conflicts to rows and back, through the domain's own fold (``ticket_history``): pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from projections.base import Record, instant, instant_or_none, milliseconds
from projections.decoding import jsonb
from streams.domain.ticket_history import ConflictHistory, TicketField, TicketHistory

TICKET_COLUMNS: Final = {
    "tenant_id": "text",
    "ticket_id": "text",
    "incident_id": "text",
    "connector": "text",
    "integration_id": "text",
    "external_id": "text",
    "external_key": "text",
    "url": "text",
    "state": "text",
    "in_step": "bool",
    "mapping_version": "int8",
    "version": "int8",
    "under_way": "text",
    "last_action": "text",
    "last_result": "text",
    "last_failure": "text",
    "last_at": "timestamptz",
    "checked_at": "timestamptz",
    "since": "timestamptz",
    "open_conflicts": "int8",
    "waiting_conflicts": "int8",
    "drifted_fields": "int8",
    "fields": "jsonb",
    "tenantsequence": "int8",
    "event_id": "text",
    "topic_partition": "int4",
    "topic_offset": "int8",
}

CONFLICT_COLUMNS: Final = {
    "tenant_id": "text",
    "conflict_id": "text",
    "ticket_id": "text",
    "connector": "text",
    "integration_id": "text",
    "field": "text",
    "external_field": "text",
    "kind": "text",
    "owner": "text",
    "policy": "text",
    "mapping_version": "int8",
    "result": "text",
    "ours": "text",
    "theirs": "text",
    "base_ours": "text",
    "base_theirs": "text",
    "base_known": "bool",
    "updated_by": "text",
    "explanation": "text",
    "since": "timestamptz",
    "ended_at": "timestamptz",
    "ended": "text",
    "value": "text",
    "ended_by": "text",
}

_SAME = (
    "ticket_id", "incident_id", "connector", "integration_id", "external_id", "external_key", "url", "state",
    "mapping_version", "version", "under_way", "last_action", "last_result", "last_failure",
)  # fmt: skip
_CONFLICT_TIMES = frozenset({"since", "ended_at"})


@dataclass(frozen=True, slots=True)
class TicketRow:
    """One row of ``read.tickets``; ``fields`` are ``TicketField``s as JSON, their times in milliseconds.

    ``tenantsequence`` is that of the last event in it.
    """

    tenant_id: str
    ticket_id: str
    incident_id: str
    connector: str
    integration_id: str
    external_id: str
    external_key: str
    url: str
    state: str
    in_step: bool
    mapping_version: int
    version: int
    under_way: str
    last_action: str
    last_result: str
    last_failure: str
    last_at: datetime | None
    checked_at: datetime | None
    since: datetime
    open_conflicts: int
    waiting_conflicts: int
    drifted_fields: int
    fields: Sequence[Mapping[str, Any]]
    tenantsequence: int
    event_id: str
    topic_partition: int
    topic_offset: int


@dataclass(frozen=True, slots=True)
class ConflictRow:
    """One row of ``read.ticket_conflicts``; ``ended_at`` is None while it is open."""

    tenant_id: str
    conflict_id: str
    ticket_id: str
    connector: str
    integration_id: str
    field: str
    external_field: str
    kind: str
    owner: str
    policy: str
    mapping_version: int
    result: str
    ours: str
    theirs: str
    base_ours: str
    base_theirs: str
    base_known: bool
    updated_by: str
    explanation: str
    since: datetime
    ended_at: datetime | None
    ended: str
    value: str
    ended_by: str


def to_ticket(row: TicketRow) -> TicketHistory:
    """The ticket as the domain folds it."""
    given: dict[str, Any] = {name: getattr(row, name) for name in _SAME}
    found = TicketHistory(**given)
    found.last_at, found.checked_at = milliseconds(row.last_at), milliseconds(row.checked_at)
    found.since = milliseconds(row.since)
    found.fields = {one["external_field"]: TicketField(**one) for one in row.fields}
    return found


def to_conflict(row: ConflictRow) -> ConflictHistory:
    """The conflict as the domain folds it."""
    names = [name for name in CONFLICT_COLUMNS if name != "tenant_id"]
    given: dict[str, Any] = {name: getattr(row, name) for name in names}
    return ConflictHistory(**{**given, **{name: milliseconds(given[name]) for name in _CONFLICT_TIMES}})


def ticket_row(ticket: TicketHistory, last: Record) -> TicketRow:
    """The row of a ticket; ``last`` is the last event in it."""
    given: dict[str, Any] = {name: getattr(ticket, name) for name in _SAME}
    return TicketRow(
        tenant_id=last.envelope.tenantid,
        in_step=ticket.in_step,
        last_at=instant_or_none(ticket.last_at),
        checked_at=instant_or_none(ticket.checked_at),
        since=instant(ticket.since),
        open_conflicts=len(ticket.divergent),
        waiting_conflicts=len(ticket.waiting),
        drifted_fields=len(ticket.drifted),
        fields=[asdict(one) for one in ticket.fields.values()],
        tenantsequence=last.envelope.tenantsequence,
        event_id=last.envelope.id,
        topic_partition=last.partition,
        topic_offset=last.offset,
        **given,
    )


def stored_ticket(row: TicketRow) -> tuple[Any, ...]:
    """A row in the order of ``TICKET_COLUMNS``, as COPY takes it."""
    return tuple(jsonb(row.fields) if name == "fields" else getattr(row, name) for name in TICKET_COLUMNS)


def stored_conflict(tenant: str, conflict: ConflictHistory) -> tuple[Any, ...]:
    """A conflict in the order of ``CONFLICT_COLUMNS``, as COPY takes it."""
    times = {"since": instant(conflict.since), "ended_at": instant_or_none(conflict.ended_at)}
    return (
        tenant,
        *(
            times[name] if name in times else getattr(conflict, name)
            for name in CONFLICT_COLUMNS
            if name != "tenant_id"
        ),
    )
