"""``X-PagerDuty-Signature`` (https://developer.pagerduty.com/docs/verifying-webhook-signatures)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from connectors.kit.bearer import matches_any

HEADER = "x-pagerduty-signature"
_VERSION = "v1="
_MAX_SIGNATURES = 16


def sign(body: bytes, secret: str) -> str:
    """One ``v1=`` signature: HMAC-SHA256 over the raw body, the secret taken as it is written (never decoded)."""
    return _VERSION + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str, secrets: Sequence[str]) -> bool:
    """Whether any ``v1=`` signature of the header belongs to any secret: both sides may have several in a rotation."""
    given = [part.strip().encode() for part in header.split(",", _MAX_SIGNATURES)[:_MAX_SIGNATURES]]
    presented = [one for one in given if one.startswith(_VERSION.encode())]
    return matches_any(presented, [sign(body, secret).encode() for secret in secrets if secret])
