"""Signatures of Standard Webhooks, as Svix sends them (https://github.com/standard-webhooks/standard-webhooks).

``webhook-signature: v1,<base64>`` (several, by spaces) is HMAC-SHA256 over ``<webhook-id>.<webhook-timestamp>.<body>``;
the key is base64 behind ``whsec_``. The same headers come with the prefix ``svix-``, too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from connectors.kit.bearer import matches_any
from connectors.kit.contract import Delivery

PREFIXES = ("webhook", "svix")
TOLERANCE_MS = 300_000

_VERSION, _KEY = "v1,", "whsec_"
_MAX_SIGNATURES, _MAX_DIGITS = 16, 12


def header(delivery: Delivery, name: str) -> str:
    """A header under either of its names; empty where there is none."""
    return next((found for prefix in PREFIXES if (found := delivery.headers.get(f"{prefix}-{name}", ""))), "")


def sign(body: bytes, id_: str, timestamp: str, secret: str) -> str:
    """One ``v1,`` signature."""
    mac = hmac.new(_key(secret), f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return _VERSION + base64.b64encode(mac).decode()


def verify(delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
    """Whether any signature belongs to any secret, at most five minutes from ``now`` (milliseconds)."""
    id_, timestamp = header(delivery, "id"), header(delivery, "timestamp")
    if not id_ or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_DIGITS):
        return False
    if abs(now - int(timestamp) * 1000) > TOLERANCE_MS:
        return False
    given = [part.encode() for part in header(delivery, "signature").split(" ", _MAX_SIGNATURES)[:_MAX_SIGNATURES]]
    presented = [one for one in given if one.startswith(_VERSION.encode())]
    return matches_any(presented, [sign(delivery.body, id_, timestamp, one).encode() for one in secrets if one])


def _key(secret: str) -> bytes:
    """The bytes that a secret stands for; one that is no base64 is taken as it is written."""
    try:
        return base64.b64decode(secret.removeprefix(_KEY), validate=True)
    except (binascii.Error, ValueError):
        return secret.encode()
