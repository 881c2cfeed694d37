"""A person's command that got a 2xx took effect once, however often it was sent."""

from __future__ import annotations

from collections import Counter, defaultdict

from infra.torture.evidence import Evidence, Finding
from streams.domain import events, outputs


def took_effect_once(evidence: Evidence) -> Finding:
    """Its outcome is in the results, always the same one, and its note stands on the timeline once."""
    finding = Finding("every accepted command took effect exactly once")
    outcomes: dict[str, set[object]] = defaultdict(set)
    for one in evidence.results:
        outcomes[one.data.command_id].add(one.data)
    notes = Counter(one.data.text for one in evidence.events if isinstance(one.data, events.NoteAdded))
    for key, sent in evidence.ledger.commands.items():
        found = outcomes[sent.command_id]
        if not found:
            finding.add(f"command {key} ({sent.command_id}) was answered 2xx and has no outcome", lost=1)
        elif len(found) > 1:
            finding.add(f"command {key} ({sent.command_id}) has {len(found)} different outcomes: {found}")
        if sent.text and notes[sent.text] == 0 and any(isinstance(one, outputs.CommandAccepted) for one in found):
            finding.add(f"the note {sent.text!r} was accepted and is not in the record", lost=1)
    for text in evidence.ledger.attempted_texts:
        if notes[text] > 1:
            finding.add(f"the note {text!r} stands {notes[text]} times in the record", duplicates=1)
    finding.counts["commands"] = len(evidence.ledger.commands)
    return finding
