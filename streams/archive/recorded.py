"""The log for replaying decisions, from the archive: what Kafka has trimmed is there (``agents.recorded.Log``)."""

from __future__ import annotations

from collections.abc import Iterator

from streams.archive.manifests import Manifest
from streams.archive.reading import Archive, completeness
from streams.runtime.partition_reader import StoredRecord


class ArchivedLog:
    """The log as the archive holds it. Raises ``DamagedFile`` and ``DamagedManifest``."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._manifests: dict[tuple[str, int], Manifest] = {}

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic, those without a record too: a tenant's follows from how many there are."""
        held = [number for name, number in self._archive.partitions() if name == topic]
        return list(range(max(completeness(self._archive)[1], *(number + 1 for number in held), 0)))

    def start_at(self, topic: str, partition: int, since: int) -> int:
        """The beginning of the first file that has a record as new as a time in milliseconds."""
        return self._archive.bounds(self._manifest(topic, partition), since)[0]

    def end(self, topic: str, partition: int) -> int:
        """The end of the last file."""
        return self._archive.bounds(self._manifest(topic, partition))[1]

    def records(self, topic: str, partition: int, start: int = 0) -> Iterator[StoredRecord]:
        """The archived records from an offset on: offsets are those of today's Kafka, also of what was restored."""
        return self._archive.current(self._manifest(topic, partition), start)

    def _manifest(self, topic: str, partition: int) -> Manifest:
        key = topic, partition
        if key not in self._manifests:
            self._manifests[key] = self._archive.manifest(*key)
        return self._manifests[key]
