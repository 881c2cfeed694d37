"""Checks the record event by event: sequences, hash chains, digests, and what checkpoints vouch for (R5, R11).

The first bad event of each tenant is named, with what is wrong; what follows it is counted but not judged, since one
damage breaks everything after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NamedTuple

from streams.domain import chain
from streams.domain.envelope import Envelope

Damaged = Literal["edited", "deleted", "swapped", "inserted", "truncated", "rewritten", "differs"]


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a tenant's record: ``where`` is the place of the first bad event, ``event_id`` may be unknown.

    edited: data or attributes changed. deleted: it is missing. swapped: it stands elsewhere. inserted: it does not
    belong there. truncated: the record ends before it. rewritten: the chain holds and is not the one that was signed.
    differs: another copy of the record says otherwise.
    """

    kind: Damaged
    tenant: str
    tenantsequence: int
    event_id: str
    incident_id: str
    where: str
    detail: str


class RecordHead(NamedTuple):
    """Where a tenant's record stands: ``digest`` commits to every event so far, in order, and so to each incident."""

    tenantsequence: int = 0
    hash: str = ""
    digest: str = ""

    def after(self, envelope: Envelope) -> RecordHead:
        """The head with one more event."""
        digest = sha256(f"{self.digest}{envelope.hash}".encode()).hexdigest()
        return RecordHead(envelope.tenantsequence, envelope.hash, digest)


class Link(NamedTuple):
    """The last event of an incident, or of a tenant's own stream."""

    sequence: int = 0
    hash: str = ""
    event_id: str = ""
    tenantsequence: int = 0


@dataclass(slots=True)
class Mark:
    """What must hold when a tenant's record is at ``head.tenantsequence``; an empty digest is not compared."""

    source: str
    head: RecordHead
    links: Mapping[str, Link] = field(default_factory=dict)


@dataclass(slots=True)
class _Tenant:
    head: RecordHead = field(default_factory=RecordHead)
    links: dict[str, Link] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    damage: Damage | None = None
    missing: range = range(0)


class RecordChecker:
    """Takes the events of any number of tenants, each tenant's in the order of the log.

    ``vouched`` has what erasures signed for, by event id: the SHA-256 of what is left of an event's data. Without it
    (None: it is not known) every event without a salt counts as erased.
    """

    def __init__(self, vouched: Mapping[str, str] | None = None) -> None:
        self.events = 0
        self.erased = 0
        self._vouched = vouched
        self._tenants: dict[str, _Tenant] = {}

    def expect(self, tenant: str, mark: Mark) -> None:
        """Hold the record to what somebody else says of it; call it before the events come."""
        marks = self._tenants.setdefault(tenant, _Tenant()).marks
        marks.append(mark)
        marks.sort(key=lambda one: one.head.tenantsequence, reverse=True)

    def begin(self, tenant: str, head: RecordHead, links: Mapping[str, Link]) -> None:
        """Begin in the middle of a tenant's record."""
        self._tenants[tenant] = _Tenant(head, dict(links))

    def heads(self) -> dict[str, RecordHead]:
        """Where each tenant's record stands."""
        return {name: tenant.head for name, tenant in self._tenants.items() if tenant.head.tenantsequence}

    def links(self, tenant: str) -> Mapping[str, Link]:
        """The last event of each of a tenant's incidents."""
        return self._tenants[tenant].links if tenant in self._tenants else {}

    def take(self, envelope: Envelope, value: bytes | None, where: str) -> None:
        """Check the next event; ``value`` is its data as stored, ``where`` its place for people."""
        self.events += 1
        tenant = self._tenants.get(envelope.tenantid)
        if tenant is None:
            tenant = self._tenants[envelope.tenantid] = _Tenant()
        if tenant.damage is not None:
            _reconsider(tenant, envelope, where)
            return
        link = tenant.links.get(envelope.subject, _BEGINNING)
        if (
            envelope.tenantsequence != tenant.head.tenantsequence + 1
            or envelope.sequence != link.sequence + 1
            or envelope.prevhash != link.hash
            or envelope.hash != chain.link(envelope)
            or envelope.datadigest != chain.digest(envelope.datasalt, value or b"")
        ):
            tenant.damage = self._judge(tenant, link, envelope, value, where)
            if tenant.damage is not None:
                return
        tenant.links[envelope.subject] = Link(envelope.sequence, envelope.hash, envelope.id, envelope.tenantsequence)
        tenant.head = tenant.head.after(envelope)
        while tenant.marks and tenant.marks[-1].head.tenantsequence <= tenant.head.tenantsequence:
            mark = tenant.marks.pop()  # each goes, also those behind one that does not hold
            tenant.damage = tenant.damage or _compare(tenant, mark, envelope, where)

    def finish(self) -> list[Damage]:
        """The first damage of each tenant; a record that ends before what was promised is truncated."""
        for name, tenant in self._tenants.items():
            if tenant.damage is None and tenant.marks:
                mark, last = tenant.marks[0], tenant.head.tenantsequence
                detail = f"the record ends at {last}, {mark.source} has it at {mark.head.tenantsequence}"
                tenant.damage = Damage("truncated", name, last + 1, "", "", "the end", detail)
        return [tenant.damage for tenant in self._tenants.values() if tenant.damage is not None]

    def _judge(self, tenant: _Tenant, link: Link, envelope: Envelope, value: bytes | None, where: str) -> Damage | None:
        """What is wrong with an event; nothing where its data was erased together with its salt, and so on record."""
        expected = tenant.head.tenantsequence + 1
        found = envelope.tenantsequence
        if found > expected:
            tenant.missing = range(expected, found)
            what = f"{expected}" if found == expected + 1 else f"{expected} to {found - 1}"
            detail = f"tenantsequence {what} missing, {found} follows"
            return Damage("deleted", envelope.tenantid, expected, "", "", f"before {where}", detail)
        if found < expected:
            return _at(envelope, where, "inserted", f"tenantsequence {found} is there already, {expected} was due")
        if envelope.hash != chain.link(envelope):
            return _at(envelope, where, "edited", "its attributes are not those that its hash vouches for")
        if envelope.sequence != link.sequence + 1:
            detail = f"sequence {envelope.sequence} of its incident follows {link.sequence}"
            return _at(envelope, where, "swapped" if envelope.sequence <= link.sequence else "deleted", detail)
        if envelope.prevhash != link.hash:
            detail = f"the next event of its incident, {envelope.id} at {where}, names another hash"
            at, before = link.tenantsequence, f"before {where}"
            return Damage("edited", envelope.tenantid, at, link.event_id, envelope.subject, before, detail)
        if envelope.datasalt:
            return _at(envelope, where, "edited", "its data is not that which its digest vouches for")
        if self._vouched is not None and self._vouched.get(envelope.id) != sha256(value or b"").hexdigest():
            return _at(envelope, where, "edited", "its data is gone, and what is left is in no signed erasure")
        self.erased += 1
        return None


_BEGINNING = Link()


def _at(envelope: Envelope, where: str, kind: Damaged, detail: str) -> Damage:
    return Damage(
        kind,
        envelope.tenantid,
        envelope.tenantsequence,
        envelope.id,
        envelope.subject,
        where,
        f"{envelope.type}: {detail}",
    )


def _reconsider(tenant: _Tenant, envelope: Envelope, where: str) -> None:
    """What was missing and comes later was not deleted but moved."""
    damage = tenant.damage
    if damage is not None and damage.kind == "deleted" and envelope.tenantsequence in tenant.missing:
        detail = f"tenantsequence {envelope.tenantsequence} stands after {tenant.missing.stop}"
        tenant.damage = _at(envelope, where, "swapped", detail)
        tenant.missing = range(0)


def _compare(tenant: _Tenant, mark: Mark, envelope: Envelope, where: str) -> Damage | None:
    head = tenant.head
    if mark.head.hash not in {"", head.hash} or mark.head.digest not in {"", head.digest}:
        detail = f"up to here the chain holds, but it is not the one of {mark.source}"
        return _at(envelope, where, "rewritten", detail)
    for incident, theirs in mark.links.items():
        ours = tenant.links.get(incident, _BEGINNING)
        if (ours.sequence, ours.hash) != (theirs.sequence, theirs.hash):
            said = f"{mark.source} has incident {incident} at {theirs.sequence} {theirs.hash[:12]}"
            detail = f"{said}, not {ours.sequence} {ours.hash[:12]}"
            return Damage("differs", envelope.tenantid, envelope.tenantsequence, ours.event_id, incident, where, detail)
    return None
