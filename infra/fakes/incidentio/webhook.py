"""Webhooks as incident.io sends them through Svix: payloads under their event type, signed as Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any


def body(event_type: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """One delivery's document."""
    return {"event_type": event_type, event_type: dict(payload)}


def sign(content: bytes, secret: str, headers: Mapping[str, str], at: int | None = None) -> dict[str, str]:
    """The signature's headers; ``webhook-id`` is among those that the delivery has already."""
    timestamp = str(int(time.time()) if at is None else at)
    signed = f"{headers['webhook-id']}.{timestamp}.".encode() + content
    mac = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {"webhook-timestamp": timestamp, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    return base64.b64decode(secret.removeprefix("whsec_"))
