"""``X-Hub-Signature: sha256=<hex>`` (https://developer.atlassian.com/cloud/jira/platform/webhooks/, WebSub section 7).

No time is signed: a delivery that is sent again is told by what it says, which derives the same ids.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from connectors.kit.bearer import matches_any

HEADER = "x-hub-signature"
_METHOD = "sha256="


def sign(body: bytes, secret: str) -> str:
    """The header's value: HMAC-SHA256 over the raw body."""
    return _METHOD + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def verify(body: bytes, header: str, secrets: Sequence[str]) -> bool:
    """Whether the signature belongs to any secret; no other method than SHA-256 counts."""
    given = header.strip().encode()
    return matches_any([given], [sign(body, secret).encode() for secret in secrets if secret])
