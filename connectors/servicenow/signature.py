"""The signature of our Business Rule (docs/itsm-servicenow.md); ServiceNow itself signs nothing.

``X-Incidents-Signature: v1=<base64 HMAC-SHA256>`` over ``<X-Incidents-Timestamp>.<raw body>``: base64, because that is
what the platform's ``generateMac`` returns; the time is signed, so that an old delivery cannot be sent again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from connectors.kit.bearer import matches_any
from connectors.kit.contract import Delivery

SIGNATURE, TIMESTAMP = "x-incidents-signature", "x-incidents-timestamp"
TOLERANCE_MS = 300_000
"""How far the rule's clock and ours may be apart, the time on the way included."""

_VERSION = "v1="
_MAX_DIGITS = 12


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """The header's value."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).digest()
    return _VERSION + base64.b64encode(mac).decode()


def verify(delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
    """Whether the delivery is signed with one of the secrets, at most five minutes from ``now`` (milliseconds)."""
    timestamp = delivery.headers.get(TIMESTAMP, "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _MAX_DIGITS):
        return False
    if abs(now - int(timestamp) * 1000) > TOLERANCE_MS:
        return False
    given = delivery.headers.get(SIGNATURE, "").strip().encode()
    return matches_any([given], [sign(delivery.body, timestamp, secret).encode() for secret in secrets if secret])
