"""The log from its beginning: the archive for what Kafka no longer holds, then Kafka; read like Kafka alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from streams.archive.manifests import Manifest
from streams.archive.reading import Archive
from streams.runtime.log_reader import LogReader, Span
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.partition_reader import StoredRecord
from streams.runtime.settings import KafkaSettings, ObjectStorageSettings


class ArchivedMessage:
    """An archived record, asked like a message of the Kafka client."""

    __slots__ = ("_record", "_topic")

    def __init__(self, record: StoredRecord, topic: str) -> None:
        self._record = record
        self._topic = topic

    def topic(self) -> str:
        """The topic's full name."""
        return self._topic

    def partition(self) -> int:
        """The partition."""
        return self._record.partition

    def offset(self) -> int:
        """The offset that it had in Kafka."""
        return self._record.offset

    def timestamp(self) -> tuple[int, int]:
        """The kind of time (1: that of its creation) and the time in milliseconds."""
        return 1, self._record.timestamp

    def key(self) -> bytes | None:
        """The key."""
        return self._record.key

    def value(self) -> bytes | None:
        """The value."""
        return self._record.value

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers."""
        return list(self._record.headers)

    def error(self) -> None:
        """Nothing: what is archived was committed."""
        return


class History(LogReader):
    """One topic; the archive is asked only where Kafka begins later than is wanted.

    Beside what ``LogReader`` raises: ``DamagedFile``, ``DamagedManifest`` and ``StorageUnavailable``.
    """

    def __init__(self, settings: KafkaSettings, topic: str, archive: Archive) -> None:
        super().__init__(settings, topic)
        self._name = topic
        self._full_name = settings.topic(topic)
        self._archive = archive
        self._manifests: dict[int, Manifest] = {}

    def spans(self) -> dict[int, Span]:
        """What of each partition can be read, here or there."""
        return {number: Span(self._begin(number, span.begin), span.end) for number, span in self.live_spans().items()}

    def offsets_at(self, milliseconds: int) -> dict[int, int]:  # type: ignore[override]  # the one it overrides is decorated
        """The first offset of each partition whose record is not older than the time; the end where all are."""
        found = super().offsets_at(milliseconds)
        for number, span in self.live_spans().items():
            if found[number] <= span.begin and self._begin(number, span.begin) < span.begin:
                archived = self._archived(number, 0, span.begin)
                found[number] = next((r.offset for r in archived if r.timestamp >= milliseconds), span.begin)
        return found

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int], batch: int = 5_000) -> Iterator[list[Any]]:
        """As ``LogReader.read``: first what only the archive has, one partition after the other, then Kafka's part."""
        following = dict(starts)
        for number, span in self.live_spans().items():
            if number in starts and starts[number] < min(span.begin, ends[number]):
                archived = self._archived(number, starts[number], min(span.begin, ends[number]))
                while records := list(islice(archived, batch)):
                    yield [ArchivedMessage(record, self._full_name) for record in records]
                following[number] = min(span.begin, ends[number])
        yield from super().read(following, ends, batch)

    def _begin(self, number: int, kafka: int) -> int:
        """Where the archive begins, if it has everything up to where Kafka does."""
        if kafka == 0:
            return 0
        manifest = self._manifest(number)
        if manifest.position < kafka:
            return kafka
        first = next((record.offset for record in self._archive.current(manifest)), kafka)
        return 0 if first == 0 or manifest.entries[0].start == 0 else min(first, kafka)

    def _archived(self, number: int, start: int, end: int) -> Iterator[StoredRecord]:
        for record in self._archive.current(self._manifest(number), start):
            if record.offset >= end:
                return
            yield record

    def _manifest(self, number: int) -> Manifest:
        if number not in self._manifests:
            self._manifests[number] = self._archive.manifest(self._name, number)
        return self._manifests[number]


@dataclass(frozen=True, slots=True)
class Histories:
    """Opens topics so: what is given to who reads the log, also in another process."""

    storage: ObjectStorageSettings
    prefix: str

    def __call__(self, kafka: KafkaSettings, topic: str) -> History:
        """A reader of a topic of the catalogue."""
        return History(kafka, topic, Archive(ObjectStorage(self.storage), self.prefix))
