"""Files at a record (the Attachment API's ``POST /api/now/attachment/file``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from infra.fakes.store import Store


def add(store: Store, parameters: Mapping[str, str], content: bytes) -> dict[str, Any]:
    """Keep what describes a file; a second one of the same name is a second file, as at the provider."""
    digest = hashlib.sha256(content).hexdigest()
    document = {
        "sys_id": hashlib.sha256(f"attachment:{store.count('sequence:attachment')}".encode()).hexdigest()[:32],
        "table_name": parameters.get("table_name", ""),
        "table_sys_id": parameters.get("table_sys_id", ""),
        "file_name": parameters.get("file_name", ""),
        "size_bytes": str(len(content)),
        "hash": digest,
    }
    store.put("attachment", document["sys_id"], document)
    store.count("effect:attachment")
    return document
