"""Every id that got a 2xx has exactly one disposition, in the log and at the REST API: 0 lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from infra.torture.evidence import Decoded, Evidence, Finding
from infra.torture.ledger import Expected, Id
from streams.domain import events
from streams.domain.signals import ProviderIngested

ALLOWED: dict[Expected, frozenset[str]] = {
    "signal": frozenset({"attached", "repeated", "kept_raw"}),
    "kept": frozenset({"kept_raw"}),
    "poison": frozenset({"dead_lettered"}),
}


def of_event(one: Decoded) -> Iterator[tuple[Id, str]]:
    """The dispositions that an event of the record gives."""
    tenant = one.envelope.tenantid
    match one.data:
        case events.AlertsAttached(alerts):
            yield from ((Id(tenant, alert.source, alert.id), "attached") for alert in alerts)
        case events.AlertsResolved(alerts):
            yield from ((Id(tenant, alert.source, alert.id), "resolved") for alert in alerts)
        case events.AlertsRepeated(alerts):
            yield from ((Id(tenant, alert.source, alert.id), "repeated") for alert in alerts)
        case ProviderIngested() as kept:
            yield Id(tenant, kept.delivery_source, kept.delivery_id), "kept_raw"
        case events.IntakeRefused() as refused:
            yield Id(tenant, refused.source, refused.id), "dead_lettered"


def in_the_log(evidence: Evidence) -> Finding:
    """Exactly one in the record; an alert that fires late is attached and resolved by the same delivery."""
    finding = Finding("every accepted id has exactly one disposition in the log")
    found: dict[Id, list[str]] = defaultdict(list)
    for one in evidence.events:
        for identity, disposition in of_event(one):
            found[identity].append(disposition)
    ledger = evidence.ledger
    for identity in ledger.accepted:
        dispositions = found.get(identity, [])
        expected = ledger.expected[identity]
        if not dispositions:
            finding.add(f"{identity} was answered 2xx and is not in the record", lost=1)
        elif not {_final(d) for d in dispositions} <= ALLOWED[expected]:
            finding.add(f"{identity}: {dispositions}, expected one of {sorted(ALLOWED[expected])}")
    for place, identity in ledger.raw.items():
        if identity not in found:
            finding.add(f"the undecodable record {identity} at {place} is not in the record", lost=1)
    for identity, dispositions in found.items():
        late = sorted(dispositions) == ["attached", "resolved"]
        if len(dispositions) > 1 and not late:
            finding.add(f"{identity} has {len(dispositions)} dispositions: {dispositions}", duplicates=1)
    finding.counts["accepted"] = len(ledger.accepted)
    return finding


def at_the_api(evidence: Evidence) -> Finding:
    """And the REST API shows it."""
    finding = Finding("every accepted id has its disposition at the REST API")
    for identity, expected in evidence.ledger.expected.items():
        disposition = evidence.dispositions.get(identity)
        if disposition is None:
            finding.add(f"{identity} was answered 2xx and the API does not find it", lost=1)
        elif disposition not in ALLOWED[expected]:
            finding.add(f"{identity} is {disposition}, expected one of {sorted(ALLOWED[expected])}")
    for identity in evidence.ledger.raw.values():
        if evidence.dispositions.get(identity) is None:
            finding.add(f"the undecodable record {identity} is not found by the API", lost=1)
    return finding


def _final(disposition: str) -> str:
    """REST shows a resolved alert's delivery as attached."""
    return "attached" if disposition == "resolved" else disposition
