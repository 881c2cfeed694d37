"""What the Business Rule of docs/itsm-servicenow.md sends, and how it signs it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from infra.fakes.servicenow.fields import JOURNALS
from infra.fakes.servicenow.table import Change


def body(change: Change) -> dict[str, Any]:
    """The rule's document: the record's raw values after the write, what changed, and new journal entries."""
    record = {name: value for name, value in change.record.items() if name not in JOURNALS}
    return {
        "event": f"incident.{change.operation}",
        "sys_id": record["sys_id"],
        "sys_mod_count": record["sys_mod_count"],
        "sys_updated_on": record["sys_updated_on"],
        "sys_updated_by": record["sys_updated_by"],
        "changed": list(change.changed),
        "record": record,
        "journal": list(change.journal),
    }


def sign(content: bytes, secret: str, at: int | None = None) -> dict[str, str]:
    """The rule's headers: base64 HMAC-SHA256 over ``<unix seconds>.<body>``, as ``generateMac`` makes it."""
    timestamp = str(int(time.time()) if at is None else at)
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + content, hashlib.sha256).digest()
    return {
        "X-Incidents-Timestamp": timestamp,
        "X-Incidents-Signature": f"v1={base64.b64encode(mac).decode()}",
    }
