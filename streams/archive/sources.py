"""The record wherever it is: the archive for what Kafka no longer holds, then Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.archive.reading import Archive
from streams.domain.errors import IncidentsError
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.settings import KafkaSettings


class NotThere(IncidentsError):  # noqa: N818
    """Neither Kafka nor the archive holds what was asked for."""


@dataclass(slots=True)
class Sources:
    """Records of catalogue topics. ``problems`` collects where the archive says otherwise than Kafka."""

    kafka: KafkaSettings
    log: PartitionReader
    archive: Archive | None = None
    problems: list[str] = field(default_factory=list)

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic."""
        return self.log.partitions(self.kafka.topic(topic))

    def records(self, topic: str, partition: int, start: int = 0) -> Iterator[StoredRecord]:
        """The committed records from an offset on; raises ``NotThere`` when nobody has the beginning."""
        full = self.kafka.topic(topic)
        first, end = self.log.bounds(full, partition)
        if first > start:
            yield from self._archived(topic, partition, start, first)
        if end > start:
            yield from self.log.read(full, partition, max(first, start), end)

    def compared(self, topic: str, partition: int) -> Iterator[StoredRecord]:
        """The records from the beginning, each of Kafka's held against the archive's; the first difference is noted."""
        if self.archive is None or (topic, partition) not in self.archive.partitions():
            yield from self.records(topic, partition)
            return
        manifest = self.archive.manifest(topic, partition)
        archived = self.archive.records(manifest)
        agrees, count = True, 0
        for record in self.records(topic, partition):
            count += 1
            theirs = next(archived, None) if agrees else None
            if theirs is not None and not theirs.same_content(record):
                agrees = False
                self.problems.append(
                    f"{topic}[{partition}]@{record.offset} is not what the archive holds (offset {theirs.offset} there)"
                )
            yield record
        if agrees and (missing := next(archived, None)) is not None:
            self.problems.append(
                f"{topic}[{partition}] ends after {count} records, the archive has more (from offset {missing.offset})"
            )

    def _archived(self, topic: str, partition: int, start: int, end: int) -> Iterator[StoredRecord]:
        """What was archived before Kafka trimmed it."""
        where = f"{topic}[{partition}] begins at offset {end}"
        if self.archive is None or (topic, partition) not in self.archive.partitions():
            raise NotThere(f"{where}, and there is no archive of what was before")
        manifest = self.archive.manifest(topic, partition)
        if manifest.entries and manifest.entries[0].start > start:
            raise NotThere(f"{where}, the archive at {manifest.entries[0].start}: {start} was asked for")
        for record in self.archive.current(manifest, start):
            if record.offset >= end:
                return
            yield record
