"""A shared secret in the request itself: ``Authorization: Bearer`` (RFC 6750) or, where allowed, ``?key=``."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from connectors.kit.contract import Delivery


def matches_any(presented: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any of what was presented is any of what was expected; every pair is compared, in constant time."""
    found = False
    for one in presented:
        for other in expected:
            found |= hmac.compare_digest(one, other)
    return found


def verify(delivery: Delivery, secrets: Sequence[str], *, in_url: bool) -> bool:
    """Whether the delivery carries one of the secrets; ``in_url`` also takes the query parameter ``key``."""
    scheme, _, token = delivery.headers.get("authorization", "").partition(" ")
    presented = [token.strip().encode()] if scheme.lower() == "bearer" else []
    if in_url and "key" in delivery.query:
        presented.append(delivery.query["key"].encode())
    return matches_any([one for one in presented if one], [secret.encode() for secret in secrets if secret])
