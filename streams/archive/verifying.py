"""Verifies the record: chains, signatures, files, and the copies of it in Kafka, PostgreSQL and the state."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from projections.connections import connect
from projections.filling import end_with_parent
from projections.verify import TimelineRows
from streams.agents import state_codec
from streams.agents.orchestrator import EVENTS
from streams.archive.checkpoints import BadSignature, Checkpoint, Checkpoints, Verifier
from streams.archive.erasures import BadErasure, Erasures
from streams.archive.files import DamagedFile
from streams.archive.manifests import DamagedManifest, Manifest
from streams.archive.reading import Archive
from streams.archive.settings import SigningSettings
from streams.archive.snapshots import read_state
from streams.archive.sources import Sources
from streams.codec import cloudevents
from streams.domain.checking import Damage, Link, Mark, RecordChecker, RecordHead
from streams.domain.incident import Incident
from streams.domain.state import Head
from streams.runtime import collector
from streams.runtime.partition import POSITION
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import DatabaseSettings, KafkaSettings

_LOOK_S = 0.5
_REPORTED = 10_000
_checked: Any = None
"""Of a process that verifies a partition: the count that it shares with the one that started it."""


def _worker(checked: Any) -> None:
    global _checked  # noqa: PLW0603  how a pool's processes are given what cannot be pickled
    _checked = checked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it hears Ctrl-C
    collector.stop()
    end_with_parent()


@dataclass(slots=True)
class Verified:
    """What was found: ``damage`` has the first bad event of each tenant, ``problems`` what concerns whole copies."""

    events: int = 0
    erased: int = 0
    tenants: int = 0
    files: int = 0
    checkpoints: int = 0
    erasures: int = 0
    seconds: float = 0.0
    damage: list[Damage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, other: Verified) -> None:
        """Add what was found elsewhere; erasures are the same everywhere, and so are bad ones."""
        for name in ("events", "erased", "tenants", "files", "checkpoints"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.erasures = max(self.erasures, other.erasures)
        self.damage += other.damage
        self.problems += [one for one in other.problems if one not in self.problems]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damage and not self.problems


def verify_archive(archive: Archive, signing: SigningSettings) -> Verified:
    """Every file, manifest and signature of an archive, and the chains of the record in it."""
    began = time.monotonic()
    found = Verified()
    verifier = Verifier(signing)
    checker = RecordChecker(vouched(archive, verifier, found))
    for topic, partition in archive.partitions():
        try:
            manifest = archive.manifest(topic, partition)
        except DamagedManifest as error:
            found.problems.append(str(error))
            continue
        if topic == EVENTS:
            for checkpoint in signed(archive, partition, verifier, found):
                expect(checker, checkpoint)
                found.problems += _missing_links(archive, checkpoint)
        for record in _readable(archive, manifest, found):
            if topic == EVENTS:
                take(checker, record)
    found.problems += [f"left out: {one}" for one in archive.skipped]
    _sum_up(found, checker)
    found.seconds = time.monotonic() - began
    return found


def _readable(archive: Archive, manifest: Manifest, found: Verified) -> Iterable[StoredRecord]:
    """The records of a partition up to its first damaged file, which is named."""
    for entry in manifest.files:
        found.files += 1
        try:
            yield from archive.file(manifest, entry)
        except DamagedFile as error:
            found.problems.append(str(error))
            return


@dataclass(slots=True)
class Verification:
    """Which copies to hold against the log; ``generation`` 0 is the active one. ``archive`` may be absent."""

    kafka: KafkaSettings
    database: DatabaseSettings
    archive: Archive | None
    verifier: Verifier | None
    tenant: str = ""
    generation: int = 0

    def run(self, report: Callable[[int], None] = lambda _: None, *, jobs: int = 1) -> Verified:
        """Verify all, each partition by one of ``jobs`` processes; ``report`` is told how many events were checked."""
        began = time.monotonic()
        with PartitionReader(self.kafka) as log:
            partitions = log.partitions(self.kafka.topic(EVENTS))
        found = Verified()
        parts = self._in_processes(partitions, jobs, report) if jobs > 1 else map(self.partition, partitions)
        for part in parts:
            found.add(part)
            report(found.events)
        found.seconds = time.monotonic() - began
        return found

    def _in_processes(self, partitions: Sequence[int], jobs: int, report: Callable[[int], None]) -> Iterator[Verified]:
        context = multiprocessing.get_context("spawn")
        checked = context.Value("q", 0)
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_worker, initargs=(checked,)) as pool:
            left: set[Future[Verified]] = {pool.submit(self.partition, number) for number in partitions}
            while left:
                done, left = wait(left, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                report(checked.value)
                for future in done:
                    yield future.result()

    def partition(self, number: int) -> Verified:
        """Verify one partition: all tenants whose records lie there."""
        found, known = Verified(), None
        if self.archive is not None and self.verifier is not None:
            known = vouched(self.archive, self.verifier, found)
        checker = RecordChecker(known)
        with PartitionReader(self.kafka) as log, connect(self.database, "projector", name="verify") as connection:
            connection.execute("SET idle_in_transaction_session_timeout = 0")  # it only reads, as fast as the log comes
            sources = Sources(self.kafka, log, self.archive)
            count = len(sources.partitions(EVENTS))
            rows = TimelineRows(
                connection, self.generation, lambda tenant: partition_of(tenant.encode(), count) == number
            )
            self._expect_state(checker, number)
            if self.archive is not None and self.verifier is not None:
                for checkpoint in signed(self.archive, number, self.verifier, found):
                    expect(checker, checkpoint, self.tenant)
            for record in sources.compared(EVENTS, number):
                if self.tenant and record.key != self.tenant.encode():
                    continue
                take(checker, record)
                rows.take(record)
                if checker.events % _REPORTED == 0 and _checked is not None:
                    with _checked.get_lock():
                        _checked.value += _REPORTED
            found.problems += [*sources.problems, *rows.finish(self.tenant)]
        _sum_up(found, checker)
        return found

    def _expect_state(self, checker: RecordChecker, partition: int) -> None:
        """Hold the record to the heads in the orchestrator's state."""
        heads: dict[str, Head] = {}
        links: dict[str, dict[str, Link]] = {}
        items, _ = read_state(self.kafka, partition)
        for key, value in items.items():
            if key == POSITION:
                continue
            tenant, kind, item = state_codec.split_key(key)
            if self.tenant in {"", tenant} and kind in {"head", "incident"}:
                decoded = state_codec.decode(kind, value)
                if isinstance(decoded, Head):
                    heads[tenant] = decoded
                elif isinstance(decoded, Incident):
                    links.setdefault(tenant, {})[item] = Link(decoded.sequence, decoded.hash)
        for tenant, head in heads.items():
            if head.tenantsequence:
                mark = Mark("the orchestrator's state", RecordHead(head.tenantsequence), links.get(tenant, {}))
                checker.expect(tenant, mark)


def take(checker: RecordChecker, record: StoredRecord) -> None:
    """Check one record of ``incident-events``."""
    envelope, _, _ = cloudevents.decode_headers(record.headers)
    checker.take(envelope, record.value, f"{EVENTS}[{record.partition}]@{record.offset}")


def vouched(archive: Archive, verifier: Verifier, found: Verified) -> dict[str, str]:
    """What is left of the data of erased events, by event id; a bad document is named and not believed."""
    events: dict[str, str] = {}
    try:
        for erased in Erasures(archive.storage, archive.prefix).verified(verifier):
            found.erasures += 1
            events |= erased.events
    except BadErasure as error:
        found.problems.append(str(error))
    return events


def signed(archive: Archive, partition: int, verifier: Verifier, found: Verified) -> Iterable[Checkpoint]:
    """The checkpoints of a partition; a bad one is named and those after it are not believed."""
    try:
        for checkpoint in Checkpoints(archive.storage, archive.prefix).read(partition, verifier):
            found.checkpoints += 1
            yield checkpoint
    except BadSignature as error:
        found.problems.append(str(error))


def expect(checker: RecordChecker, checkpoint: Checkpoint, tenant: str = "") -> None:
    """Hold the record to a signed checkpoint."""
    for name, head in checkpoint.tenants.items():
        if tenant in {"", name}:
            checker.expect(
                name, Mark(f"signed checkpoint {checkpoint.number} of partition {checkpoint.partition}", head)
            )


def _missing_links(archive: Archive, checkpoint: Checkpoint) -> list[str]:
    """Manifests that no longer hold what a checkpoint has seen in them."""
    missing = []
    for topic, (position, link) in checkpoint.archive.items():
        try:
            links = {entry.link for entry in archive.manifest(topic, checkpoint.partition).entries}
        except DamagedManifest:
            continue  # named already
        if link and link not in links:
            missing.append(
                f"the manifest of {topic}[{checkpoint.partition}] was truncated or rewritten:"
                f" signed checkpoint {checkpoint.number} had it at offset {position}"
            )
    return missing


def _sum_up(found: Verified, checker: RecordChecker) -> None:
    found.damage = checker.finish()
    found.events, found.erased, found.tenants = checker.events, checker.erased, len(checker.heads())
