"""A tenant's tickets as the record tells of them: where each field stands, and how every conflict was decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.domain import events
from streams.domain import ticket_events as said
from streams.domain.envelope import Envelope, rfc3339


@dataclass(slots=True)
class TicketField:
    """One mapped field: what both sides agreed on last, and the open conflict (empty: none)."""

    field: str
    external_field: str
    ours: str = ""
    theirs: str = ""
    conflict_id: str = ""
    waiting: bool = False
    explanation: str = ""


@dataclass(slots=True)
class TicketHistory:
    """One ticket; ``under_way`` is the action that was asked for and not answered."""

    ticket_id: str
    incident_id: str
    connector: str
    integration_id: str
    external_id: str = ""
    external_key: str = ""
    url: str = ""
    state: str = "creating"
    under_way: str = ""
    last_failure: str = ""
    version: int = 0
    checked_at: str = ""
    fields: dict[str, TicketField] = field(default_factory=dict)

    @property
    def divergent(self) -> list[TicketField]:
        """The fields with an open conflict."""
        return [one for one in self.fields.values() if one.conflict_id]


Recorded = tuple[Envelope, object]


def tickets(record: Iterable[Recorded]) -> dict[str, TicketHistory]:
    """The tickets of a record, by ticket id."""
    found: dict[str, TicketHistory] = {}
    for envelope, event in record:
        if isinstance(event, said.TicketEvent):
            ticket = found.get(event.ticket_id)
            if ticket is None:
                ticket = TicketHistory(event.ticket_id, "", event.connector, event.integration_id)
                found[event.ticket_id] = ticket
            ticket.incident_id = envelope.subject
            _apply(ticket, event, envelope)
    return found


def _apply(ticket: TicketHistory, event: said.TicketEvent, envelope: Envelope) -> None:
    match event:
        case said.TicketLinked():
            ticket.state = "linked"
            ticket.external_id, ticket.external_key = event.external_id, event.external_key
            ticket.url = event.url
        case said.TicketUnlinked():
            ticket.state, ticket.under_way = event.why, ""
        case said.SyncRequested():
            ticket.under_way = event.action
        case said.SyncFailed():
            ticket.under_way, ticket.last_failure = "", f"{event.action}: {event.kind}: {event.detail}"
            if event.action in {"ticket_create", "ticket_link"}:
                ticket.state = "failed"
        case said.SyncCompleted():
            ticket.under_way, ticket.last_failure = "", ""
            ticket.version, ticket.checked_at = event.version or ticket.version, rfc3339(envelope.recordedtime)
            _agree(ticket, event.fields)
        case said.ProviderAck():
            ticket.version = event.version
            _agree(ticket, event.fields)
        case said.ConflictDetected():
            _conflict(ticket, event)
        case said.ConflictResolved():
            one = ticket.fields.get(event.external_field)
            if one is not None and one.conflict_id == event.conflict_id:
                one.conflict_id, one.waiting, one.explanation = "", False, ""


def _agree(ticket: TicketHistory, fields: Iterable[said.SyncedField]) -> None:
    for one in fields:
        known = ticket.fields.setdefault(one.external_field, TicketField(one.field, one.external_field))
        known.ours, known.theirs = one.ours, one.theirs


def _conflict(ticket: TicketHistory, event: said.ConflictDetected) -> None:
    known = ticket.fields.setdefault(event.external_field, TicketField(event.field, event.external_field))
    is_open = event.result in {"kept", "waiting"}
    known.conflict_id = event.conflict_id if is_open else ""
    known.waiting, known.explanation = event.result == "waiting", event.explanation if is_open else ""
    if is_open:
        known.ours, known.theirs = event.ours, event.theirs


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a field's history, for people."""

    at: str
    what: str
    ticket: str
    text: str


def explain(record: Iterable[Recorded], incident_id: str, field_name: str) -> list[Step]:
    """Everything that made an incident's field what it is on both sides, oldest first."""
    steps = []
    for envelope, event in record:
        if envelope.subject != incident_id:
            continue
        at = rfc3339(envelope.recordedtime)
        for what, ticket, text in _told(event, field_name):
            steps.append(Step(at, what, ticket, text))
    return steps


def _told(event: object, name: str) -> list[tuple[str, str, str]]:
    match event:
        case said.ConflictDetected() if event.field == name:
            base = f"{event.base_ours!r} = {event.base_theirs!r}" if event.base_known else "nothing"
            inputs = f"agreed on {base}; ours {event.ours!r}, theirs {event.theirs!r} (by {event.updated_by or '?'})"
            rule = f"owner {event.owner}, policy {event.policy}, mapping version {event.mapping_version}"
            return [("conflict", event.external_field, f"{event.explanation} -> {event.result}; {inputs}; {rule}")]
        case said.ConflictResolved() if event.field == name:
            by = f" by {event.actor}" if event.actor else ""
            return [("resolved", event.external_field, f"{event.side}{by}: {event.value!r}")]
        case said.SyncCompleted() | said.ProviderAck():
            return [
                (one.result, one.external_field, f"ours {one.ours!r} = theirs {one.theirs!r}")
                for one in event.fields
                if one.field == name
            ]
        case said.SyncRequested() if name in event.fields:
            return [("requested", event.action, ", ".join(f"{k}={v!r}" for k, v in sorted(event.changes.items())))]
        case events.FieldChanged() if event.field == name:
            return [("edited", "", f"{event.previous!r} to {event.value!r} by {event.actor}")]
        case events.SeverityChanged() if name == "severity":
            return [("edited", "", f"{event.previous!r} to {event.severity!r} by {event.actor}")]
        case events.Assigned() if name == "assignee":
            return [("edited", "", f"{event.previous!r} to {event.assignee!r} by {event.actor}")]
        case events.StateChange() | events.Closed() if name == "status":
            return [("edited", "", f"{event.previous!r} to {event.to!r} by {event.actor}")]
        case events.Resolved() if name == "status":
            return [("edited", "", f"{event.previous!r} to 'resolved' by {event.actor}")]
        case _:
            return []
