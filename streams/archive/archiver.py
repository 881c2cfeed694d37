"""The archiver: puts the log into files, signs what it saw, and keeps copies of what is not in the log.

Its position is in the manifests, so it may be killed at any instant and any number may run. A round first notes how
far the decisions have come, then archives the intake to its end, then the decisions up to the note: so the archive
never holds a decision without what was decided.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import orjson
import structlog
import tenacity
from confluent_kafka import KafkaException

from streams.archive import files
from streams.archive.checkpoints import Checkpoint, Checkpoints, Signer, Verifier
from streams.archive.heads import Heads
from streams.archive.manifests import Entry, Manifest, Overtaken
from streams.archive.reading import Archive
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.archive.snapshots import Snapshots, read_state
from streams.archive.trimming import Passed, delete_before, due, kept_ms
from streams.domain.errors import IncidentsError, Transient
from streams.runtime import metrics
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.settings import KafkaSettings

INTAKE, EVENTS = TOPICS[0], TOPICS[1]
_LOG = structlog.get_logger()
Clock = Callable[[], int]


class OtherLog(IncidentsError):  # noqa: N818
    """The log is not the one that the archive continues: another cluster, or one that lost what was archived."""


@dataclass(slots=True)
class Round:
    """What one round did."""

    files: int = 0
    records: int = 0
    bytes: int = 0
    checkpoints: int = 0
    snapshots: int = 0
    trimmed: int = 0


@dataclass(slots=True)
class _Lane:
    """One partition: its manifests by topic, the heads of its tenants and the last checkpoint."""

    partition: int
    manifests: dict[str, Manifest]
    heads: Heads
    checkpoint: Checkpoint | None = None
    document: str = ""
    published_at: float = 0.0
    snapshot_at: int = 0


@dataclass(slots=True)
class Archiver:
    """One archiver process; ``back_up`` copies the operational tables, ``clock`` gives milliseconds.

    ``passed`` says how far projections have come on a topic: nothing that one has not passed is deleted from Kafka.
    """

    kafka: KafkaSettings
    settings: ArchiveSettings
    storage: ObjectStorage
    signer: Signer
    verifier: Verifier
    stop: threading.Event
    back_up: Callable[[], bool] = lambda: False
    passed: Passed = lambda _: {}
    clock: Clock = lambda: time.time_ns() // 1_000_000
    problem: str = "starting"
    _lanes: dict[int, _Lane] = field(default_factory=dict)
    _cluster: str = ""
    _trimmed_at: float = 0.0

    @property
    def prefix(self) -> str:
        """Where the archive stands in its bucket."""
        return self.settings.prefix(self.kafka.topic_prefix)

    def checks(self) -> Mapping[str, str]:
        """Readiness: what the last round ran into."""
        return {"archive": self.problem or "ok"}

    def run(self) -> None:
        """Archive until ``stop`` is set. Kafka, PostgreSQL or S3 away is waited out; nothing is lost meanwhile.

        Raises ``OtherLog`` when the log is not the one that the archive continues.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((Transient, Overtaken, KafkaException)),
            wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=10, jitter=1),
            stop=tenacity.stop_when_event_set(self.stop),
            sleep=tenacity.sleep_using_event(self.stop),
            before_sleep=self._say,
            retry_error_callback=lambda _: None,
        )
        while not self.stop.is_set():
            began = time.monotonic()
            done = retrying(self.round)
            if isinstance(done, Round):
                self.problem = ""
                if done.files:
                    _LOG.info("archived", files=done.files, records=done.records, bytes=done.bytes)
            self.stop.wait(max(0.0, self.settings.interval_s - (time.monotonic() - began)))

    def round(self, *, final: bool = False) -> Round:
        """Archive everything that is there now; ``final`` also signs and backs up without waiting for their time."""
        done, began = Round(), self.clock()
        try:
            with PartitionReader(self.kafka) as log:
                self._open(log)
                for lane in self._lanes.values():
                    self._archive(log, lane, done)
                for lane in self._lanes.values():
                    self._publish(lane, done, final=final)
                    self._snapshot(lane, done, final=final)
                self._trim(log, done, final=final)
        except (Transient, Overtaken, KafkaException, OtherLog):
            self._lanes.clear()  # read again where the manifests stand
            raise
        self.back_up()
        complete = orjson.dumps({"at": began, "partitions": len(self._lanes)})
        self.storage.overwrite(f"{self.prefix}complete.json", complete)
        metrics.ARCHIVER_COMPLETE_SECONDS.set(self.clock() / 1000)
        return done

    def _open(self, log: PartitionReader) -> None:
        """Find out where the archive stands, once, and that this log continues it."""
        if self._lanes:
            return
        self.storage.ensure_bucket()
        self.storage.require_conditional_writes(self.prefix)
        self._cluster = log.cluster()
        for partition in log.partitions(self.kafka.topic(EVENTS)):
            manifests = {topic: Manifest(self.storage, self.prefix, topic, partition).load() for topic in TOPICS}
            latest = Checkpoints(self.storage, self.prefix).latest(partition, self.verifier)
            checkpoint, document = latest or (None, "")
            heads = Heads(checkpoint).catch_up(Archive(self.storage, self.prefix), manifests[EVENTS])
            lane = _Lane(partition, manifests, heads, checkpoint, document)
            snapshots = Snapshots(self.storage, self.prefix).of(partition)
            lane.snapshot_at = max((one.at for one in snapshots), default=0)
            for manifest in manifests.values():
                self._require_same_log(log, manifest)
            self._lanes[partition] = lane

    def _require_same_log(self, log: PartitionReader, manifest: Manifest) -> None:
        first, end = log.bounds(self.kafka.topic(manifest.topic), manifest.partition)
        where, position = f"{manifest.topic}[{manifest.partition}]", manifest.position
        cluster = manifest.entries[-1].cluster if manifest.entries else self._cluster
        if cluster != self._cluster:
            raise OtherLog(f"{where} was archived from cluster {cluster}, this is {self._cluster}: restore first")
        if end < position:
            raise OtherLog(f"{where} ends at {end}, the archive at {position}: the log has lost records, restore it")
        if first > position and manifest.entries:
            raise OtherLog(f"{where} begins at {first}, the archive ends at {position}: what lies between is lost")

    def _archive(self, log: PartitionReader, lane: _Lane, done: Round) -> None:
        """Archive the partitions of a lane, the intake first, and what was decided only as far as it was before."""
        ends = {topic: log.bounds(self.kafka.topic(topic), lane.partition)[1] for topic in (*TOPICS[1:], INTAKE)}
        for topic in TOPICS:
            manifest = lane.manifests[topic]
            for records in self._read(log, manifest, ends[topic]):
                self._close_file(manifest, records, done)
                if topic == EVENTS:
                    lane.heads.take(records)

    def _read(self, log: PartitionReader, manifest: Manifest, end: int) -> Iterator[list[StoredRecord]]:
        """The records of a partition that are to be archived up to ``end``, a file's worth at a time."""
        topic = self.kafka.topic(manifest.topic)
        start = manifest.position if manifest.entries else log.bounds(topic, manifest.partition)[0]
        records: list[StoredRecord] = []
        held = 0
        for record in log.read(topic, manifest.partition, start, max(end, start)):
            records.append(record)
            held += files.size(record)
            if held >= self.settings.file_bytes:
                yield records
                records, held = [], 0
        if records:
            yield records

    def _close_file(self, manifest: Manifest, records: list[StoredRecord], done: Round) -> None:
        """Store a file, then name it in the manifest: what a crash between the two leaves is garbage, not damage."""
        content = files.encode(manifest.topic, manifest.partition, records)
        now = self.clock()
        times = [record.timestamp for record in records]
        manifest.append(
            Entry(
                start=manifest.position if manifest.entries else records[0].offset,
                end=records[-1].offset + 1,
                count=len(records),
                first_at=min(times),
                last_at=max(times),
                bytes=len(content),
                object=self.storage.put(content, files.CONTENT_TYPE),
                cluster=self._cluster,
                archived_at=now,
            )
        )
        done.files += 1
        done.records += len(records)
        done.bytes += len(content)
        metrics.ARCHIVER_RECORDS.labels(manifest.topic).inc(len(records))
        metrics.ARCHIVER_LAG_SECONDS.labels(manifest.topic).set(max(0.0, (now - min(times)) / 1000))

    def _publish(self, lane: _Lane, done: Round, *, final: bool) -> None:
        """Sign where the tenants stand, when events have come since and the time or their number says so."""
        last = lane.checkpoint
        position = lane.manifests[EVENTS].position
        if position == (last.position if last else 0):
            return
        due = time.monotonic() - lane.published_at >= self.settings.checkpoint_s
        if not (due or final or lane.heads.fresh >= self.settings.checkpoint_events):
            return
        checkpoint = Checkpoint(
            number=last.number + 1 if last else 1,
            partition=lane.partition,
            position=position,
            at=self.clock(),
            tenants=dict(lane.heads.tenants),
            archive={topic: (one.position, one.link) for topic, one in lane.manifests.items()},
            previous=lane.document,
        )
        document = Checkpoints(self.storage, self.prefix).publish(checkpoint, self.signer)
        if document is None:
            raise Overtaken(f"checkpoint {checkpoint.number} of partition {lane.partition} is there already")
        lane.checkpoint, lane.document, lane.published_at = checkpoint, document, time.monotonic()
        lane.heads.fresh = 0
        done.checkpoints += 1

    def _snapshot(self, lane: _Lane, done: Round, *, final: bool) -> None:
        if not final and self.clock() - lane.snapshot_at < self.settings.state_s * 1000:
            return
        items, position = read_state(self.kafka, lane.partition)
        lane.snapshot_at = self.clock()
        if position:
            Snapshots(self.storage, self.prefix).add(lane.partition, items, lane.snapshot_at)
            done.snapshots += 1

    def _trim(self, log: PartitionReader, done: Round, *, final: bool) -> None:
        """Delete from Kafka what is archived, due and passed; the first time after a start, then once in a while."""
        if not final and time.monotonic() - self._trimmed_at < self.settings.trim_s:
            return
        self._trimmed_at = time.monotonic()
        offsets = {}
        for lane in self._lanes.values():
            for topic, manifest in lane.manifests.items():
                kept = kept_ms(topic, self.settings)
                first, _ = log.bounds(self.kafka.topic(topic), lane.partition)
                end = due(self.kafka, log, manifest, self.clock() - kept, self.passed) if kept else first
                if end > first:
                    offsets[topic, lane.partition] = end
                    done.trimmed += end - first
        delete_before(self.kafka, offsets)
        if offsets:
            _LOG.info("deleted from Kafka", before={f"{t}[{n}]": offset for (t, n), offset in offsets.items()})

    def _say(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Overtaken):  # the work is done, by somebody else: nothing is wrong here
            _LOG.info("overtaken", by=str(error))
            return
        self.problem = f"{type(error).__name__}: {error}"
        _LOG.warning("archiver.retrying", error=self.problem, attempt=state.attempt_number)
