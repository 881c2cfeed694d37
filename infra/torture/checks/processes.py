"""Processes stay within their memory, end only for a reason, and treat senders well."""

from __future__ import annotations

from infra.torture.evidence import Evidence, Finding

MEMORY_LIMIT = 700 * 2**20
"""Resident bytes that no process may pass, whatever was done to it."""

EXIT_FATAL = 70
FORESEEN = frozenset({0, EXIT_FATAL, 1})
"""How a process may end by itself: stopped, fenced or without its servers; the supervisor starts it again."""


def memory_is_bounded(evidence: Evidence) -> Finding:
    """The largest resident set of each process."""
    finding = Finding("memory of each process stays bounded")
    for name, size in evidence.peak_bytes.items():
        if size > MEMORY_LIMIT:
            finding.add(f"{name} took {size // 2**20} MB")
    finding.counts["peak_mb"] = max(evidence.peak_bytes.values(), default=0) // 2**20
    return finding


def ended_for_a_reason(evidence: Evidence) -> Finding:
    """No process crashed by itself in a way that a restart does not explain."""
    finding = Finding("no process ended in a way that was not foreseen")
    for end in evidence.ends:
        if not end.ordered:
            finding.counts["restarts"] += 1
            if end.code not in FORESEEN:
                finding.add(f"{end.name} ended with {end.code} after {end.lived_s} s")
    return finding


def senders_were_treated_well(evidence: Evidence) -> Finding:
    """Whoever is not served is told to come back: 503 with Retry-After, never an error of ours."""
    finding = Finding("senders got a 2xx or 503 with Retry-After, and no delivery was given up")
    for refusal in evidence.ledger.refused:
        finding.add(refusal)
    if evidence.ledger.given_up:
        finding.add(f"{evidence.ledger.given_up} deliveries never got a 2xx")
    return finding
