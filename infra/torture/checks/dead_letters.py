"""The dead-letter topic holds what was poison, each with its reason, and nothing else."""

from __future__ import annotations

from collections import Counter

from infra.torture.evidence import Evidence, Finding
from infra.torture.ledger import Id
from streams.domain import events


def only_poison(evidence: Evidence) -> Finding:
    """Each letter stands for a record that was sent as poison; none of those is missing, none is there twice."""
    finding = Finding("the dead-letter topic holds only poison, each with its reason")
    ledger = evidence.ledger
    poison = {identity for identity, expected in ledger.expected.items() if expected == "poison"}
    seen: set[Id] = set()
    for letter in evidence.letters:
        headers = {name: value.decode(errors="replace") for name, value in letter.headers}
        if "dlq_state" in headers:
            continue  # what became of a letter
        place = int(headers["dlq_partition"]), int(headers["dlq_offset"])
        identity = Id((letter.key or b"").decode(), headers.get("ce_source", ""), headers.get("ce_id", ""))
        if not headers.get("dlq_reason"):
            finding.add(f"the letter of {place} has no reason")
        if identity in seen:
            finding.add(f"{identity} was dead-lettered twice", duplicates=1)
        seen.add(identity)
        was_sent_raw = place in ledger.raw or identity.source == "/torture/raw"
        if identity not in poison and not was_sent_raw and identity in ledger.expected:
            finding.add(f"{identity} is no poison and was dead-lettered: {headers['dlq_reason']}")
    for identity in poison | set(ledger.raw.values()):
        if identity not in seen:
            finding.add(f"{identity} is poison and has no dead letter", lost=1)
    finding.counts["letters"] = len(seen)
    return finding


def were_replayed(evidence: Evidence) -> Finding:
    """Each letter that was put back after a fix is marked, and its alert is attached to an incident, once."""
    finding = Finding("dead letters that were replayed after a fix became alerts, each once")
    marked = {
        headers["dlq_ref"]: headers["dlq_state"]
        for letter in evidence.letters
        if "dlq_ref" in (headers := {name: value.decode(errors="replace") for name, value in letter.headers})
    }
    attached = Counter(
        alert.fingerprint
        for one in evidence.events
        if isinstance(one.data, events.AlertsAttached)
        for alert in one.data.alerts
    )
    for place, fingerprint in evidence.replayed.items():
        if marked.get(place) != "replayed":
            finding.add(f"the letter at {place} was replayed and is {marked.get(place, 'not marked')}")
        if attached[fingerprint] != 1:
            lost, twice = int(attached[fingerprint] == 0), int(attached[fingerprint] > 1)
            text = f"the alert {fingerprint} of the letter at {place} was attached {attached[fingerprint]} times"
            finding.add(text, lost=lost, duplicates=twice)
    finding.counts["replayed"] = len(evidence.replayed)
    return finding
