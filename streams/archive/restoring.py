"""Restores an archive into an empty Kafka and an empty database.

The intake gets its offsets and times back. The state is the newest snapshot, with the intake after it decided again
up to the last batch that the archive knows of; what the archive has only a part of is completed. So nothing is
decided twice and nothing is skipped: the worker goes on behind that batch. Intents whose result is known anywhere are
finished before anybody could send them again; the others count as attempted, so that their effect is looked for first.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from projections.connections import connect
from streams.agents.orchestrator import DEAD_LETTERS, EVENTS, INTAKE, STATE
from streams.agents.redecide import Cuts, IntakeGap, Redecider
from streams.archive.intents import finish_known
from streams.archive.manifests import Entry, Manifest
from streams.archive.operations import Operations, require_empty
from streams.archive.reading import Archive, completeness
from streams.archive.settings import TOPICS
from streams.archive.snapshots import Snapshots
from streams.archive.writing import PartitionWriter, take_times_from
from streams.domain.errors import IncidentsError
from streams.runtime.partition import POSITION, POSITION_FORMAT
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.ports import Write
from streams.runtime.settings import DatabaseSettings, KafkaSettings

Report = Callable[[str, str], None]


class CannotRestore(IncidentsError):  # noqa: N818
    """The target is not empty, or the archive does not hold what a restore needs."""


@dataclass(slots=True)
class Restored:
    """What a restore did; times in milliseconds, ``seconds`` is how long it took (RTO, until processes may start)."""

    records: dict[str, int] = field(default_factory=dict)
    decided_again: int = 0
    completed: int = 0
    finished_intents: int = 0
    open_intents: int = 0
    complete_until: int = 0
    newest_record: int = 0
    seconds: float = 0.0
    skipped: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Restore:
    """One restore."""

    kafka: KafkaSettings
    database: DatabaseSettings
    archive: Archive
    operations: Operations
    report: Report = lambda _name, _what: None
    done: Restored = field(default_factory=Restored)

    def run(self, now: int) -> Restored:
        """Restore everything; raises ``CannotRestore``, ``DamagedFile``, ``DamagedManifest``, ``NotWritten``.

        A restore that was interrupted is begun again with empty topics and an empty database.
        """
        began = time.monotonic()
        self.done.complete_until, count = completeness(self.archive)
        partitions = range(count)
        cluster = self._require_empty(partitions)
        maps: list[tuple[Manifest, PartitionWriter, int]] = []
        take_times_from(self.kafka, self.kafka.topic(INTAKE), "CreateTime")
        for partition in partitions:
            maps += self._partition(partition)
        take_times_from(self.kafka, self.kafka.topic(INTAKE), "LogAppendTime")
        self._operations()
        for manifest, writer, end in maps:
            self._note(manifest, writer, end, cluster, now)
        self.done.skipped = self.archive.skipped
        self.done.seconds = time.monotonic() - began
        return self.done

    def _require_empty(self, partitions: Sequence[int]) -> str:
        """The id of the cluster to restore to."""
        if not partitions:
            raise CannotRestore(f"there is no archive at {self.archive.prefix}")
        with PartitionReader(self.kafka) as log:
            for name in (*TOPICS, STATE):
                topic = self.kafka.topic(name)
                if (found := len(log.partitions(topic))) != len(partitions):
                    raise CannotRestore(f"{topic} has {found} partitions, the archive {len(partitions)}")
                for partition in partitions:
                    if log.bounds(topic, partition) != (0, 0):
                        raise CannotRestore(f"{topic}[{partition}] is not empty: restore into topics just created")
            cluster = log.cluster()
        with connect(self.database, "owner", name="restore") as connection:
            require_empty(connection)
        return cluster

    def _partition(self, partition: int) -> list[tuple[Manifest, PartitionWriter, int]]:
        manifests = {topic: self.archive.manifest(topic, partition) for topic in TOPICS}
        writers = {t: PartitionWriter(self.kafka, self.kafka.topic(t), partition) for t in TOPICS}
        cuts, last_span, written_of_last = Cuts(), "", 0
        for topic, manifest in manifests.items():
            for record in self._copied(manifest, writers[topic]):
                self.done.newest_record = max(self.done.newest_record, record.timestamp)
                if topic == EVENTS:
                    span = str(cuts.take(record))
                    written_of_last = written_of_last + 1 if span == last_span else 1
                    last_span = span
            end = writers[topic].flush()
            self.done.records[topic] = self.done.records.get(topic, 0) + sum(one.count for one in manifest.files)
            self.report(f"{topic}[{partition}]", f"{end} offsets")
        ends = {topic: writers[topic].flush() for topic in TOPICS}
        self._state(partition, manifests, writers, cuts, written_of_last)
        return [(manifests[topic], writers[topic], ends[topic]) for topic in TOPICS]

    def _copied(self, manifest: Manifest, writer: PartitionWriter) -> Iterator[StoredRecord]:
        """Write a partition and hand on what was written."""
        for entry in manifest.entries:
            if entry.kind == "restored":
                if manifest.topic != INTAKE:
                    writer.begin_era(entry.end)
                continue
            for record in self.archive.file(manifest, entry):
                if manifest.topic == INTAKE:
                    writer.keep_offset(record.offset)
                headers = record.headers
                if manifest.topic == DEAD_LETTERS:
                    headers = [(name, _moved(name, value, writer)) for name, value in headers]
                writer.write(record.key, record.value, headers, record.timestamp, record.offset)
                yield record

    def _state(
        self,
        partition: int,
        manifests: dict[str, Manifest],
        writers: dict[str, PartitionWriter],
        cuts: Cuts,
        written_of_last: int,
    ) -> None:
        """Make the state after the last archived batch, complete that batch's outputs, and write the state."""
        wanted = cuts.spans[-1].last + 1 if cuts.spans else 0
        snapshots = Snapshots(self.archive.storage, self.archive.prefix)
        last_batch = cuts.spans[-1].first if cuts.spans else 0  # is decided again in any case, to complete it
        usable = [one for one in snapshots.of(partition) if one.position <= last_batch]
        begin = Redecider(self.kafka, partition)
        if usable:
            begin = Redecider(self.kafka, partition, snapshots.items(usable[-1]), usable[-1].position)
        intake = self.archive.records(manifests[INTAKE], begin.position)
        outputs: list[Write] = []
        try:
            for span, writes in begin.follow(intake, cuts):
                self.done.decided_again += 1
                if span is not None:
                    outputs = writes.outputs
        except IntakeGap as error:
            raise CannotRestore(
                f"partition {partition}: {error}; the archive has events without their intake"
            ) from error
        self._complete(outputs, manifests, writers, written_of_last)
        state = PartitionWriter(self.kafka, self.kafka.topic(STATE), partition)
        for key, value in begin.state.items():
            state.write(key, value, (), 0)
        state.write(POSITION, orjson.dumps([POSITION_FORMAT, wanted]), (), 0)
        state.flush()
        self.report(f"state[{partition}]", f"{len(begin.state)} items, the intake goes on at {wanted}")

    def _complete(
        self,
        outputs: Sequence[Write],
        manifests: dict[str, Manifest],
        writers: dict[str, PartitionWriter],
        written_of_last: int,
    ) -> None:
        """Write what the last batch wrote and the archive does not have."""
        for topic in TOPICS[1:]:
            ours = [write for write in outputs if write.topic == self.kafka.topic(topic)]
            if topic == EVENTS:
                missing = ours[written_of_last:]
            else:
                archived = {(r.key, r.value, tuple(r.headers)) for r in self._tail(manifests[topic], len(ours))}
                missing = [one for one in ours if (one.key, one.value, tuple(one.headers)) not in archived]
            for write in missing:
                writers[topic].write(write.key, write.value, write.headers, self.done.newest_record)
            writers[topic].flush()
            self.done.completed += len(missing)

    def _tail(self, manifest: Manifest, count: int) -> Sequence[StoredRecord]:
        """At least the last ``count`` records of a partition."""
        found: list[StoredRecord] = []
        for entry in reversed(manifest.files):
            if len(found) >= count:
                break
            found = [*self.archive.file(manifest, entry), *found]
        return found

    def _operations(self) -> None:
        """Bring back the operational tables and finish the intents whose result is known, in one transaction."""
        backup = self.operations.latest()
        with connect(self.database, "owner", name="restore") as connection:
            if backup is not None:
                self.operations.restore(backup, connection)
            self.done.finished_intents, self.done.open_intents = finish_known(self.archive, connection)
        self.report("operations", f"{sum(backup.rows.values()) if backup else 0} rows")

    def _note(self, manifest: Manifest, writer: PartitionWriter, end: int, cluster: str, now: int) -> None:
        """Let the archive go on: from here on its offsets are those of the new cluster."""
        runs = self.archive.storage.put(zlib.compress(orjson.dumps(writer.runs)), "application/zlib")
        start = manifest.position
        entry = Entry(start, end, object=runs, cluster=cluster, archived_at=now, kind="restored")
        manifest.append(entry)


def _moved(name: str, value: bytes, writer: PartitionWriter) -> bytes:
    """A header of a dead letter; what marks another letter as handled names its place, which is a new one now."""
    if name != "dlq_ref":
        return value
    partition, _, offset = value.decode().partition(":")
    new = writer.new_offset(int(offset))
    return value if new is None else f"{partition}:{new}".encode()
