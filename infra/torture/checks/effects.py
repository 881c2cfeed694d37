"""Every planned side effect happened exactly once where the provider enforces it, at least once where it cannot."""

from __future__ import annotations

import re
from collections import Counter

from infra.torture.evidence import Evidence, Finding
from streams.domain import events, outputs
from streams.domain.envelope import derive_id
from streams.domain.errors import Reason

_MARKER = re.compile(r"\[incidents:([^\]]+)\]")
_LATE = {Reason.ARCHIVED_INCIDENT, Reason.UNKNOWN_INCIDENT}
_STATES = {"acknowledge": "acknowledged", "resolve": "resolved"}


def at_the_provider(evidence: Evidence) -> Finding:
    """Acknowledging and resolving are kept apart by the object's state; notes are told apart by their marker."""
    finding = Finding("every intent had its effect at the provider, keyed ones exactly once")
    incidents, effects = evidence.account["incidents"], evidence.account["effects"]
    notes = Counter(
        marker
        for incident in incidents.values()
        for note in incident["notes"]
        for marker in _MARKER.findall(note["content"])
    )
    wanted: dict[str, set[str]] = {action: set() for action in _STATES}
    for one in evidence.intents:
        intent: outputs.Intent = one.data
        if intent.action == "note":
            _check_note(finding, intent, notes[intent.idempotency_key])
        else:
            wanted[intent.action].add(intent.external_id)
            finding.counts["intents"] += 1
    for action, externals in wanted.items():
        for external in externals:
            status = incidents.get(external, {}).get("status")
            if status not in {_STATES[action], "resolved"}:
                finding.add(f"{action} of {external} has not happened: it is {status}", effects_missing=1)
        done = effects.get(_STATES[action], 0)
        if done > len(externals):
            finding.add(f"{action} happened {done} times for {len(externals)} objects", effects_twice=1)
    twins = finding.counts["effects_twice_unkeyed"]
    if twins and not evidence.ledger.frozen_dispatchers:
        finding.add(f"{twins} notes have twins though no dispatcher was frozen between its lease check and its send")
    planned = {one.data.idempotency_key for one in evidence.intents}
    for marker in notes.keys() - planned:
        finding.add(f"the provider has a note {marker} that nobody planned")
    return finding


def in_the_record(evidence: Evidence) -> Finding:
    """Each intent has one row that says delivered and one result on the timeline.

    A result that comes when its incident is archived is refused with that reason, as any late command is.
    """
    finding = Finding("every intent has exactly one result in the record")
    refused = {one.data.command_id for one in evidence.results if _came_late(one.data)}
    archived = {one.envelope.subject for one in evidence.events if isinstance(one.data, events.Archived)}
    results = Counter(
        one.data.intent_id
        for one in evidence.events
        if isinstance(one.data, events.EffectDelivered | events.EffectFailed)
    )
    failed = [one.data for one in evidence.events if isinstance(one.data, events.EffectFailed)]
    for one in failed:
        finding.add(f"intent {one.intent_id} was given up: {one.detail}", effects_missing=1)
    for decoded in evidence.intents:
        id_ = decoded.data.intent_id
        if not results[id_] and derive_id(id_, "effect") in refused and decoded.data.incident_id in archived:
            finding.counts["late_results"] += 1
        elif results[id_] != 1:
            finding.add(f"intent {id_} has {results[id_]} results in the record")
        if evidence.outbox.get(id_) != "delivered":
            finding.add(f"intent {id_} stands as {evidence.outbox.get(id_)} in the outbox")
    duplicates = [id_ for id_, count in Counter(one.data.intent_id for one in evidence.intents).items() if count > 1]
    for id_ in duplicates:
        finding.add(f"intent {id_} was planned twice", duplicates=1)
    return finding


def _came_late(result: outputs.CommandResult) -> bool:
    return isinstance(result, outputs.CommandRejected) and result.reason in _LATE


def _check_note(finding: Finding, intent: outputs.Intent, found: int) -> None:
    finding.counts["intents"] += 1
    if not found:
        finding.add(f"the note of intent {intent.intent_id} is not at the provider", effects_missing=1)
    elif found > 1:
        finding.counts["effects_twice_unkeyed"] += found - 1
