"""The hash chain of the record (R11): each event names the hash of the one before it in its stream.

A hash covers the event's attributes and a digest of its data as stored, not the data: so data can be erased with its
salt and the chain still holds.
"""

from __future__ import annotations

from hashlib import blake2b, sha256
from operator import attrgetter

from streams.domain.envelope import Envelope

_COVERED = (
    "id",
    "source",
    "type",
    "tenantid",
    "subject",
    "time",
    "correlationid",
    "causationid",
    "sequence",
    "tenantsequence",
    "recordedtime",
    "intakespan",
    "decider",
    "prevhash",
    "datadigest",
)
_GET = attrgetter(*_COVERED)
_NUMBERS = [_COVERED.index(name) for name in ("sequence", "tenantsequence", "recordedtime")]


def tenant_salt(tenant: str, cause_id: str, recorded: int) -> str:
    """The key of a tenant's salts, from its first message: known to who holds the intake or the state, nobody else."""
    return sha256(f"salt|{tenant}|{cause_id}|{recorded}".encode()).hexdigest()[:32]


def salt(tenant_salt: str, event_id: str) -> str:
    """The salt of one event's data; erasing the data erases it too, so that nobody can try guesses on the digest."""
    return blake2b(event_id.encode(), key=tenant_salt.encode(), digest_size=8).hexdigest()


def digest(salt: str, value: bytes) -> str:
    """The salted digest of an event's data as stored (SHA-256, hexadecimal)."""
    return sha256(salt.encode() + value).hexdigest()


def link(envelope: Envelope) -> str:
    """The hash of an event: SHA-256 over its covered attributes, each preceded by its length."""
    values = list(_GET(envelope))
    for place in _NUMBERS:
        values[place] = str(values[place])
    return sha256("".join([f"{len(value)}:{value}" for value in values]).encode()).hexdigest()


def sealed(envelope: Envelope) -> Envelope:
    """An envelope that nobody has seen yet, with its hash: set in place, since a copy costs more than the hash."""
    object.__setattr__(envelope, "hash", link(envelope))
    return envelope
