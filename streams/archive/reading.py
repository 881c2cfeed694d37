"""Reads the archive: the records of a partition, file by file, every file checked against its name and its entry."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import orjson

from streams.archive import files
from streams.archive.erasures import Erasures
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
    _replaced: dict[str, str] | None = None

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

    def current(self, manifest: Manifest, start: int = 0) -> Iterator[StoredRecord]:
        """As ``records``, with the offsets that the records have in Kafka now: each restore gave them new ones."""
        moves = self._moves(manifest)
        for number, entry in enumerate(manifest.entries):
            later = [move for at, move in moves if at > number]
            if entry.kind != "file" or _moved(entry.end - 1, later) < start:
                continue
            for record in self.file(manifest, entry):
                offset = _moved(record.offset, later)
                if offset >= start:
                    yield replace(record, offset=offset) if later else record

    def bounds(self, manifest: Manifest, since: int = 0) -> tuple[int, int]:
        """The offsets from the beginning of the first file with a record as new as a time to the end, as of now."""
        moves = self._moves(manifest)
        begin = end = 0
        found = False
        for number, entry in enumerate(manifest.entries):
            if entry.kind == "file":
                later = [move for at, move in moves if at > number]
                end = _moved(entry.end - 1, later) + 1
                if not found and entry.last_at >= since:
                    begin, found = _moved(entry.start, later), True
        return begin if found else end, end

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

    def held_in(self, entry: Entry) -> str:
        """The key of an entry's file: another one than the entry's own where something in it was erased."""
        if self._replaced is None:
            self._replaced = Erasures(self.storage, self.prefix).replaced()
        return self._replaced.get(entry.object, entry.object)

    def forget_files(self) -> None:
        """Look again which files were replaced."""
        self._replaced = None

    def _file(self, manifest: Manifest, entry: Entry) -> list[StoredRecord]:
        try:
            content = self.storage.get(self.held_in(entry))
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

    def _moves(self, manifest: Manifest) -> list[tuple[int, Callable[[int], int]]]:
        """What each restore did to offsets: the number of its entry, and old to new."""
        found: list[tuple[int, Callable[[int], int]]] = []
        kept_below = 0
        for number, entry in enumerate(manifest.entries):
            if entry.kind == "restored":
                runs = orjson.loads(zlib.decompress(self.storage.get(entry.object)))
                found.append((number, _move(runs, kept_below)))
                kept_below = entry.end
        return found


def _move(runs: Sequence[tuple[int, int, int]], kept_below: int) -> Callable[[int], int]:
    """Old offset to new one, by a restore's runs (old, new, how many); those below ``kept_below`` stayed."""

    def moved(old: int) -> int:
        at = bisect_right(runs, old, key=lambda run: run[0]) - 1
        if old < kept_below or at < 0:
            return old
        first, new, count = runs[at]
        return new + min(old - first, count - 1)

    return moved


def _moved(offset: int, moves: Sequence[Callable[[int], int]]) -> int:
    for move in moves:
        offset = move(offset)
    return offset


def completeness(archive: Archive) -> tuple[int, int]:
    """When the archiver last began a round that it finished (milliseconds), and how many partitions there are.

    Everything that was acknowledged before then is archived. Both are 0 where there is no archive.
    """
    for key in archive.storage.keys(f"{archive.prefix}complete.json"):
        found = orjson.loads(archive.storage.document(key)[0])
        return int(found["at"]), int(found["partitions"])
    return 0, 0
