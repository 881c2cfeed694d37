"""The manifest of one archived partition: which file holds which offsets, in pages that are replaced conditionally.

The archiver's position is the end of the last entry. Each entry begins where the one before it ended and is linked to
it by a hash, so that nothing can be missing or twice; and since a page is written only in place of the page that was
read, two archivers cannot both go on from one position: the later one is told and reads again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Literal

import orjson

from streams.domain.errors import IncidentsError
from streams.runtime.object_storage import ObjectStorage

FORMAT = 1
PAGE_ENTRIES = 500
Kind = Literal["file", "restored"]


class Overtaken(IncidentsError):  # noqa: N818
    """Another archiver has added to the manifest: read it again and go on from there."""


class DamagedManifest(IncidentsError):  # noqa: N818
    """A manifest does not hang together: an entry is missing, was changed or cannot be read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: the offsets from ``start`` to before ``end``, ``count`` records, times in milliseconds.

    ``object`` is the file's key. An entry of kind ``restored`` has no file: from there on offsets are those of the
    cluster that the archive was restored to, where ``start`` became ``end``; ``object`` names the map of old to new.
    """

    start: int
    end: int
    count: int = 0
    first_at: int = 0
    last_at: int = 0
    bytes: int = 0
    object: str = ""
    cluster: str = ""
    archived_at: int = 0
    kind: Kind = "file"
    link: str = ""

    def linked(self, previous: str) -> Entry:
        """This entry with its link: a hash over the link of the one before and its own fields."""
        values = {**asdict(self), "link": previous}
        link = sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return Entry(**{**values, "link": link})


@dataclass(slots=True)
class Manifest:
    """The entries of a partition, as last read or written; ``topic`` is the name in the catalogue."""

    storage: ObjectStorage
    prefix: str
    topic: str
    partition: int
    entries: list[Entry] = field(default_factory=list)
    _page: int = 0
    _etag: str = ""
    _page_entries: list[Entry] = field(default_factory=list)

    @property
    def position(self) -> int:
        """The offset after the last archived one."""
        return self.entries[-1].end if self.entries else 0

    @property
    def link(self) -> str:
        """The link of the last entry."""
        return self.entries[-1].link if self.entries else ""

    @property
    def files(self) -> Sequence[Entry]:
        """The entries that have a file."""
        return [entry for entry in self.entries if entry.kind == "file"]

    def load(self) -> Manifest:
        """Read all pages; raises ``DamagedManifest`` when the entries do not follow one another."""
        self.entries, self._page, self._etag, self._page_entries = [], 0, "", []
        for number, key in enumerate(self.storage.keys(self._folder())):
            if key != self._key(number):
                raise DamagedManifest(f"{self._key(number)} is missing: {key} follows")
            content, etag = self.storage.document(key)
            self._page, self._etag = number, etag
            self._page_entries = _parse(key, content)
            self.entries += self._page_entries
        for problem in broken(self.entries):
            raise DamagedManifest(f"{self.topic}[{self.partition}]: {problem}")
        return self

    def append(self, entry: Entry) -> Entry:
        """Add an entry that begins at the position; raises ``Overtaken`` when another archiver was faster.

        What stands there already, because its acknowledgement was lost, is not added twice.
        """
        if self.entries and entry.start != self.position:
            raise ValueError(f"the entry begins at {entry.start}, the manifest ends at {self.position}")
        entry = entry.linked(self.link)
        page, etag, kept = self._page, self._etag, self._page_entries
        if len(kept) >= PAGE_ENTRIES:
            page, etag, kept = page + 1, "", []
        content = self._content([*kept, entry])
        key = self._key(page)
        written = self.storage.replace(key, content, etag) if etag else self.storage.create(key, content)
        if not written and (not self.load().entries or self.entries[-1].link != entry.link):
            raise Overtaken(f"{self.topic}[{self.partition}] is at {self.position} already")
        if written:
            self.entries.append(entry)
            self._page, self._etag, self._page_entries = page, self.storage.document(key)[1], [*kept, entry]
        return entry

    def _content(self, entries: Sequence[Entry]) -> bytes:
        page = {"format": FORMAT, "topic": self.topic, "partition": self.partition}
        return orjson.dumps({**page, "entries": [asdict(entry) for entry in entries]}, option=orjson.OPT_INDENT_2)

    def _folder(self) -> str:
        return f"{self.prefix}manifests/{self.topic}/{self.partition:05d}/"

    def _key(self, page: int) -> str:
        return f"{self._folder()}{page:08d}.json"


def broken(entries: Sequence[Entry]) -> Iterator[str]:
    """What is wrong with a manifest: gaps, overlaps and broken links, first things first."""
    end, link = 0, ""
    for number, entry in enumerate(entries):
        if entry.start != end and not (number == 0 and entry.kind == "file"):
            yield f"entry {number} begins at offset {entry.start}, the one before it ended at {end}"
        if entry.link != entry.linked(link).link:
            yield f"entry {number} (offsets {entry.start} to {entry.end}) was changed, or the one before it is missing"
        end, link = entry.end, entry.link


def _parse(key: str, content: bytes) -> list[Entry]:
    try:
        page: dict[str, Any] = orjson.loads(content)
        if page["format"] != FORMAT:
            raise DamagedManifest(f"{key} has format {page['format']}, this version reads {FORMAT}")
        return [Entry(**entry) for entry in page["entries"]]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DamagedManifest(f"{key} cannot be read: {error!r}") from error


def archived_partitions(storage: ObjectStorage, prefix: str) -> list[tuple[str, int]]:
    """The topics and partitions that have a manifest."""
    folder = f"{prefix}manifests/"
    found = {tuple(key.removeprefix(folder).split("/")[:2]) for key in storage.keys(folder)}
    return sorted((topic, int(number)) for topic, number in found)
