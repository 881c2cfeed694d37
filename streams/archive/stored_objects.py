"""Which objects go with an erased person: bodies and files that name them, and the files that they attached."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.domain.attachment_commands import AttachFile
from streams.domain.attachment_events import AttachmentAdded
from streams.domain.erasing import Erasing
from streams.runtime.attachment_storage import key_of
from streams.runtime.object_storage import ObjectStorage, UnknownObject


@dataclass(slots=True)
class StoredObjects:
    """Looks through the records of one tenant; two files with the same bytes are one object, which both need."""

    storage: ObjectStorage
    tenant: str
    erasing: Erasing
    _theirs: set[str] = field(default_factory=set)
    _others: set[str] = field(default_factory=set)

    def take(self, data: object, left: object) -> None:
        """Note the objects of a record's data, and what an erasure leaves of it."""
        if reference := getattr(data, "raw_ref", ""):
            self._others.add(reference)
        if isinstance(data, AttachFile | AttachmentAdded) and data.sha256:
            is_theirs = getattr(left, "sha256", "") == ""
            (self._theirs if is_theirs else self._others).add(key_of(self.tenant, data.sha256))

    def gone(self) -> tuple[str, ...]:
        """The keys of what goes: the person's own files that nobody else attached, too, and whatever names them."""
        return tuple(sorted((self._theirs - self._others) | set(filter(self._names, self._others))))

    def _names(self, key: str) -> bool:
        try:
            content, _ = self.storage.document(key)
        except UnknownObject:
            return False
        return self.erasing.raw(content) != content
