"""Why a field of an incident and its tickets is what it is: every step that the record tells of, for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.domain import events
from streams.domain import ticket_events as said
from streams.domain.envelope import Envelope, rfc3339

Recorded = tuple[Envelope, object]


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
