"""Incidents folded from the record = the orchestrator's state = the rows of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import get_args

from infra.torture.evidence import Evidence, Finding
from projections.incident_rows import to_incident
from streams.agents import state_codec
from streams.domain import events
from streams.domain.batch import placed
from streams.domain.incident import Incident, evolve
from streams.runtime.partition import POSITION

Incidents = Mapping[tuple[str, str], Incident]
_TENANT_EVENTS = get_args(events.TenantEvent)


@dataclass(slots=True)
class Folded:
    """All incidents of the record by tenant and id, and what could not be folded."""

    incidents: dict[tuple[str, str], Incident] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def fold(evidence: Evidence) -> Folded:
    """The record folded by the domain's own ``evolve``."""
    folded = Folded()
    for _, envelope, event in evidence.events:
        if isinstance(event, _TENANT_EVENTS):
            continue
        name = envelope.tenantid, envelope.subject
        try:
            incident = evolve(
                folded.incidents.get(name),
                event,
                id_=envelope.subject,
                at=envelope.recordedtime,
                cause=envelope.correlationid,
            )
        except ValueError as error:
            folded.problems.append(f"event {envelope.id} cannot be folded: {error}")
            continue
        folded.incidents[name] = placed(incident, envelope, event)
    return folded


def digest(incidents: Incidents) -> str:
    """One digest over all incidents, whatever their order."""
    lines = sorted(repr((name, tuple(incident))) for name, incident in incidents.items())
    return sha256("\n".join(lines).encode()).hexdigest()


def of_incidents(evidence: Evidence) -> Finding:
    """Three sources, one digest; archived incidents have left the state."""
    finding = Finding("incidents: fold of the record = orchestrator state = PostgreSQL")
    folded = fold(evidence)
    for problem in folded.problems:
        finding.add(problem)
    present = {name: incident for name, incident in folded.incidents.items() if not incident.archived_at}
    _compare(finding, "state", present, _in_state(evidence))
    shown = {name: _as_rows_hold(incident) for name, incident in folded.incidents.items()}
    rows = {(row.tenant_id, row.incident_id): to_incident(row) for row in evidence.incidents}
    _compare(finding, "PostgreSQL", shown, rows)
    return finding


def of_the_timeline(evidence: Evidence) -> Finding:
    """The timeline's rows are the record's events, each once."""
    finding = Finding("no event is missing from the timeline and none stands there twice")
    recorded = {one.envelope.id: one.envelope for one in evidence.events}
    rows = {row.event_id: row for row in evidence.timeline}
    if len(rows) != len(evidence.timeline):
        finding.add(f"{len(evidence.timeline) - len(rows)} events stand twice", duplicates=1)
    for id_ in recorded.keys() - rows.keys():
        finding.add(f"event {id_} of {recorded[id_].tenantid} is not in the timeline", lost=1)
    for id_, row in rows.items():
        envelope = recorded.get(id_)
        if envelope is None:
            finding.add(f"the timeline shows event {id_}, which is not in the record")
        elif (row.tenantsequence, row.sequence, row.hash) != (
            envelope.tenantsequence,
            envelope.sequence,
            envelope.hash,
        ):
            finding.add(f"the timeline shows event {id_} otherwise than the record: {row}")
    return finding


def of_checkpoints(evidence: Evidence) -> Finding:
    """A projector that was frozen and woken up does not take its successor's checkpoint back."""
    finding = Finding("checkpoints never move back")
    for move in evidence.moves_back:
        finding.add(move)
    return finding


def _in_state(evidence: Evidence) -> dict[tuple[str, str], Incident]:
    found = {}
    for items in evidence.state.values():
        for key, value in items.items():
            if key != POSITION:
                tenant, kind, item = state_codec.split_key(key)
                if kind == "incident":
                    found[tenant, item] = state_codec.decode(kind, value)
    return found


def _as_rows_hold(incident: Incident) -> Incident:
    """Without what rows leave out."""
    return incident._replace(hash="", status_event="", root_cause="", externals=(), severity_by_hand=False)


def _compare(finding: Finding, name: str, record: Incidents, other: Incidents) -> None:
    if digest(record) == digest(other):
        return
    for key in sorted(record.keys() | other.keys()):
        ours, theirs = record.get(key), other.get(key)
        if ours is None or theirs is None:
            finding.add(f"incident {key} is missing from the {'record' if ours is None else name}")
        elif ours != theirs:
            different = [
                f"{field}: {a!r} / {b!r}" for field, a, b in zip(Incident._fields, ours, theirs, strict=True) if a != b
            ]
            finding.add(f"incident {key}, record / {name}: {'; '.join(different)[:500]}")
