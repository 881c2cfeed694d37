"""The bytes of attached files: content-addressed like all objects, each tenant's under a prefix of its own.

They are stored before the command that names them is accepted, so no event points to nothing; what a crash between the
two leaves is garbage. Two files with the same bytes are one object.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final
from urllib.parse import quote

from streams.runtime.object_storage import DamagedObject, ObjectStorage

PREFIX: Final = "attachments/"


def key_of(tenant_id: str, sha256: str) -> str:
    """Where the bytes with this digest (hexadecimal) are."""
    return f"{PREFIX}{quote(tenant_id, safe='')}/sha256/{sha256}"


class AttachmentStorage:
    """Files of all tenants in one bucket."""

    def __init__(self, storage: ObjectStorage) -> None:
        self._storage = storage

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store bytes and return their SHA-256 in hexadecimal; raises ``StorageUnavailable``."""
        digest = hashlib.sha256(content).hexdigest()
        await asyncio.to_thread(self._storage.store, key_of(tenant_id, digest), content)
        return digest

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The bytes with this digest, which is checked.

        Raises ``UnknownObject``, ``DamagedObject`` and ``StorageUnavailable``.
        """
        content, _ = await asyncio.to_thread(self._storage.document, key_of(tenant_id, sha256))
        if hashlib.sha256(content).hexdigest() != sha256:
            raise DamagedObject(f"{sha256} does not hold what it was given")
        return content
