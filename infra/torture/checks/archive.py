"""The archive holds what the log holds, and every copy of the record agrees."""

from __future__ import annotations

from infra.torture.evidence import Evidence, Finding


def is_whole(evidence: Evidence) -> Finding:
    """What `incidents verify` finds: the log against files, signed checkpoints, timeline rows and state."""
    finding = Finding("the archive is complete, and signatures, files, rows and state agree with the log")
    verified = evidence.verified
    for damage in verified.damage:
        finding.add(f"{damage.kind}: {damage.tenant} tenantsequence {damage.tenantsequence}: {damage.detail}")
    for problem in verified.problems:
        finding.add(problem)
    finding.counts.update(archived_events=verified.events, signed_checkpoints=verified.checkpoints)
    return finding
