"""The dead-letter topic holds what was poison, each with its reason, and nothing else."""

from __future__ import annotations

from infra.torture.evidence import Evidence, Finding
from infra.torture.ledger import Id


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
        if identity in seen and identity not in evidence.replayed:
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
