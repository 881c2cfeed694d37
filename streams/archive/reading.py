"""Reads the archive: the records of a partition, file by file, every file checked against its name and its entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.archive import files
from streams.archive.files import DamagedFile
from streams.archive.manifests import Entry, Manifest, archived_partitions
from streams.runtime.object_storage import DamagedObject, ObjectStorage, UnknownObject
from streams.runtime.partition_reader import StoredRecord


@dataclass(slots=True)
class Archive:
    """One archive. Damaged files raise ``DamagedFile`` or, with ``skip_damaged``, are named in ``skipped``."""

    storage: ObjectStorage
    prefix: str
    skip_damaged: bool = False
    skipped: list[str] = field(default_factory=list)

    def partitions(self) -> list[tuple[str, int]]:
        """Topics and partitions that are archived."""
        return archived_partitions(self.storage, self.prefix)

    def manifest(self, topic: str, partition: int) -> Manifest:
        """The manifest of a partition; raises ``DamagedManifest``."""
        return Manifest(self.storage, self.prefix, topic, partition).load()

    def records(self, manifest: Manifest, start: int = 0) -> Iterator[StoredRecord]:
        """The records of a partition from an offset on, in their order."""
        for entry in manifest.files:
            if entry.end > start:
                yield from (record for record in self.file(manifest, entry) if record.offset >= start)

    def file(self, manifest: Manifest, entry: Entry) -> list[StoredRecord]:
        """The records of one file."""
        try:
            return self._file(manifest, entry)
        except DamagedFile as error:
            where = f"{manifest.topic}[{manifest.partition}] offsets {entry.start} to {entry.end}, {entry.object}"
            if not self.skip_damaged:
                raise DamagedFile(f"{where}: {error}") from error
            self.skipped.append(f"{where}: {error}")
            return []

    def _file(self, manifest: Manifest, entry: Entry) -> list[StoredRecord]:
        try:
            content = self.storage.get(entry.object)
        except UnknownObject as error:
            raise DamagedFile("the file is missing") from error
        except DamagedObject as error:
            raise DamagedFile("its content is not what its name says") from error
        records = list(files.decode(content, manifest.topic, manifest.partition))
        offsets = [record.offset for record in records]
        if len(records) != entry.count or offsets != sorted(set(offsets)):
            raise DamagedFile(f"it has {len(records)} records, its entry says {entry.count}, or they are out of order")
        if offsets and not entry.start <= offsets[0] <= offsets[-1] < entry.end:
            raise DamagedFile(f"it has offsets {offsets[0]} to {offsets[-1]}")
        return records
