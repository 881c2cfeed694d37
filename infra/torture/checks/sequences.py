"""Sequences without gap or duplicate, an unbroken hash chain, and numbers 1 to n."""

from __future__ import annotations

from collections import Counter, defaultdict

from infra.torture.evidence import Evidence, Finding
from streams.domain import chain, events


def of_the_record(evidence: Evidence) -> Finding:
    """Per tenant and per incident 1 to n, as a reader of what is committed sees them; and every hash is right."""
    finding = Finding("sequences run 1..n without gap or duplicate and the hash chain holds")
    tenants: Counter[str] = Counter()
    streams: Counter[tuple[str, str]] = Counter()
    hashes: dict[tuple[str, str], str] = {}
    for record, envelope, _ in evidence.events:
        stream = (envelope.tenantid, envelope.subject)
        where = f"{envelope.tenantid} event {envelope.id} at {record.partition}:{record.offset}"
        for name, counter, key, found in (
            ("tenantsequence", tenants, envelope.tenantid, envelope.tenantsequence),
            ("sequence", streams, stream, envelope.sequence),
        ):
            expected = counter[key] + 1  # type: ignore[index]  # each counter with its own key
            if found != expected:
                finding.add(f"{where} has {name} {found} where {expected} was due", duplicates=int(found < expected))
            counter[key] = max(found, expected - 1)  # type: ignore[index]  # as above
        if envelope.prevhash != hashes.get(stream, ""):
            finding.add(f"{where} names the hash {envelope.prevhash[:12]} of no event before it")
        if envelope.datadigest != chain.digest(envelope.datasalt, record.value or b""):
            finding.add(f"{where} has other data than its digest says")
        if envelope.hash != chain.link(envelope):
            finding.add(f"{where} has other attributes than its hash says")
        hashes[stream] = envelope.hash
    finding.counts["events"] = len(evidence.events)
    return finding


def of_the_numbers(evidence: Evidence) -> Finding:
    """Each tenant's incidents are numbered 1 to n, and no two have one id."""
    finding = Finding("incident numbers run 1..n")
    numbers: dict[str, list[int]] = defaultdict(list)
    ids: Counter[str] = Counter()
    for _, envelope, event in evidence.events:
        if isinstance(event, events.Declared):
            numbers[envelope.tenantid].append(event.number)
            ids[envelope.subject] += 1
    for tenant, found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            wrong = sorted(set(range(1, max(found) + 1)) ^ set(found)) or [
                n for n, c in Counter(found).items() if c > 1
            ]
            finding.add(f"{tenant}: numbers missing, beyond or twice: {wrong[:5]}")
    for id_, count in ids.items():
        if count > 1:
            finding.add(f"incident {id_} was declared {count} times", duplicates=1)
    finding.counts["incidents"] = len(ids)
    return finding
