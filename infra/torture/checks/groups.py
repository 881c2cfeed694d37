"""The same inputs without faults give the same partition of alerts into incidents."""

from __future__ import annotations

from collections import defaultdict

from infra.torture.evidence import Evidence, Finding
from streams.domain import events


def as_without_faults(evidence: Evidence) -> Finding:
    """Each trouble of the load is one incident, and no incident holds two: what the load implies, faults or none.

    What was sent and never answered may be in the record or not, so only accepted alerts are compared.
    """
    finding = Finding("alerts are grouped as without faults")
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in evidence.events:
        if isinstance(one.data, events.AlertsAttached):
            for alert in one.data.alerts:
                holders[one.envelope.tenantid, alert.fingerprint].add(one.envelope.subject)
    for tenant, troubles in evidence.ledger.groups().items():
        owner: dict[str, str] = {}
        for trouble, fingerprints in troubles.items():
            incidents = {id_ for fingerprint in fingerprints for id_ in holders[tenant, fingerprint]}
            if len(incidents) > 1:
                finding.add(f"{tenant}: trouble {trouble} became {len(incidents)} incidents: {sorted(incidents)[:3]}")
            for id_ in incidents:
                if owner.setdefault(id_, trouble) != trouble:
                    finding.add(f"{tenant}: incident {id_} holds the troubles {owner[id_]} and {trouble}")
            finding.counts["groups"] += 1
    return finding
