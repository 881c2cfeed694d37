"""The CloudEvents 1.0 attributes of a message, with this product's extensions, and the ids derived from them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1

from streams.domain.records import dataclass

NAMESPACE = uuid.UUID("6f0a2f0e-2f44-5c1f-9d6a-5f3f0d5f7a11")
"""Root of every UUIDv5 that the product derives (RFC 9562 section 5.5); never changed, or ids would."""

_NAMESPACE = NAMESPACE.bytes
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """CloudEvents attributes (https://github.com/cloudevents/spec, v1.0.2); an empty string means absent.

    ``tenantid`` is also the Kafka key. ``sequence`` counts an incident's events, ``tenantsequence`` a tenant's, both
    from 1. ``correlationid`` is the root cause, ``causationid`` the direct one. ``recordedtime`` is in milliseconds.
    """

    id: str
    source: str
    type: str
    tenantid: str
    subject: str = ""
    time: str = ""
    correlationid: str = ""
    causationid: str = ""
    traceparent: str = ""
    dataclass: str = ""
    dataref: str = ""
    sequence: int = 0
    tenantsequence: int = 0
    recordedtime: int = 0
    intakespan: str = ""
    decider: str = ""
    prevhash: str = ""
    hash: str = ""
    datadigest: str = ""
    datasalt: str = ""


def derive_id(*parts: str) -> str:
    """UUIDv5 of the parts: equal parts give equal ids, on any machine and at any time.

    Each part is preceded by its length, so that no two different lists of parts read alike. Written out, because
    ``uuid.uuid5`` takes three times as long and every event has one (RFC 9562 section 5.5).
    """
    name = "".join([f"{len(part)}:{part}" for part in parts]).encode()
    found = sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    variant = _VARIANT[found[16]]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


def record_source(tenant: str) -> str:
    """The CloudEvents source of everything that the orchestrator writes for a tenant."""
    return f"/tenants/{tenant}"


def rfc3339(milliseconds: int) -> str:
    """The instant in UTC with millisecond precision, e.g. ``2026-11-22T10:00:00.000Z`` (RFC 3339)."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


@lru_cache(maxsize=4096)
def milliseconds(text: str) -> int:
    """The instant of an RFC 3339 text, in milliseconds since the epoch; digits past them are cut off.

    Raises ``ValueError`` when the text is no RFC 3339 instant or lacks an offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"no offset in {text!r}")
    delta = instant - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
