"""Verifies the record: chains, signatures, files, and the copies of it in Kafka, PostgreSQL and the state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from projections.connections import connect
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
from streams.runtime.partition import POSITION
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.settings import DatabaseSettings, KafkaSettings


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

    def run(self, report: Callable[[int], None] = lambda _: None) -> Verified:
        """Verify all; ``report`` is told how many events have been checked."""
        began = time.monotonic()
        found = Verified()
        known = None
        if self.archive is not None and self.verifier is not None:
            known = vouched(self.archive, self.verifier, found)
        checker = RecordChecker(known)
        with PartitionReader(self.kafka) as log, connect(self.database, "projector", name="verify") as connection:
            sources = Sources(self.kafka, log, self.archive)
            rows = TimelineRows(connection, self.generation)
            partitions = sources.partitions(EVENTS)
            for partition in partitions:
                self._expect_state(checker, partition)
                if self.archive is not None and self.verifier is not None:
                    for checkpoint in signed(self.archive, partition, self.verifier, found):
                        expect(checker, checkpoint, self.tenant)
            for partition in partitions:
                for record in sources.compared(EVENTS, partition):
                    if self.tenant and record.key != self.tenant.encode():
                        continue
                    take(checker, record)
                    rows.take(record)
                    if checker.events % 10_000 == 0:
                        report(checker.events)
            found.problems += [*sources.problems, *rows.finish(self.tenant)]
        _sum_up(found, checker)
        found.seconds = time.monotonic() - began
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
