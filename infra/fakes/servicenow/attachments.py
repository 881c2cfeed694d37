"""Files at records (the Attachment API): a second one of the same name is a second file, as at the provider."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from infra.fakes import contents
from infra.fakes.guard import Refused
from infra.fakes.servicenow.table import error
from infra.fakes.store import Store

File = dict[str, str]

COLUMNS = frozenset(
    {"sys_id", "table_name", "table_sys_id", "file_name", "content_type", "size_bytes", "hash", "sys_created_on"}
)
_KIND = "attachment"
_REFUSED = frozenset({"exe", "bat"})
"""As if ``glide.attachment.extensions`` named all others."""


class Attachments:
    """``most`` bytes are taken of a file; ``on_change`` is told the record whose files changed, and those it has."""

    def __init__(
        self, store: Store, clock: Callable[[], float], on_change: Callable[[str, list[str]], None], most: int = 2**24
    ) -> None:
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._most = most

    def add(self, about: Mapping[str, str], content_type: str, content: bytes, user: str) -> File:
        """Keep a file; raises ``Refused`` for one that is too large, empty, or of a type that is not allowed."""
        name = about.get("file_name", "")
        if not name or not content_type:
            raise Refused(400, error("Required parameters were missing: file_name and Content-Type"))
        if len(content) > self._most:
            raise Refused(400, error("Failed to create the attachment", "File size exceeds the maximum allowed"))
        if name.rpartition(".")[2].lower() in _REFUSED:
            raise Refused(400, error("Failed to create the attachment", f"File type is not allowed: {name}"))
        with self._store.transaction():
            id_ = hashlib.sha256(f"attachment:{self._store.count('sequence:attachment')}".encode()).hexdigest()[:32]
            made = {
                "sys_id": id_,
                "table_name": about.get("table_name", ""),
                "table_sys_id": about.get("table_sys_id", ""),
                "file_name": name,
                "content_type": content_type,
                "size_bytes": str(len(content)),
                "hash": hashlib.sha256(content).hexdigest(),
                "sys_created_on": f"{datetime.fromtimestamp(int(self._clock()), UTC):%Y-%m-%d %H:%M:%S}",
                "sys_created_by": user,
            }
            self._store.put(_KIND, id_, made)
            contents.keep(self._store, id_, content)
            self._store.count("effect:attachment")
        self._told(made)
        return made

    def all(self) -> list[File]:
        """Every file, as it was made."""
        return self._store.all(_KIND)

    def of(self, sys_id: str) -> list[File]:
        """The files of a record."""
        return [one for one in self.all() if one["table_sys_id"] == sys_id]

    def get(self, id_: str) -> tuple[File, bytes]:
        """A file and its bytes; raises ``Refused`` 404."""
        found = self._store.get(_KIND, id_)
        if found is None:
            raise Refused(404, error("No Record found", "Attachment doesn't exist or ACL restricts its retrieval"))
        return found, contents.kept(self._store, id_)

    def delete(self, id_: str) -> None:
        """Delete a file; raises ``Refused`` 404."""
        found, _ = self.get(id_)
        with self._store.transaction():
            self._store.delete(_KIND, id_)
            contents.forget(self._store, id_)
        self._told(found)

    def _told(self, file: File) -> None:
        sys_id = file["table_sys_id"]
        self._on_change(sys_id, [one["sys_id"] for one in self.of(sys_id)])
