"""Erases a person: from what is archived, from Kafka, from the state and from PostgreSQL, each for good.

The order makes it safe to stop anywhere and run again. A command has the orchestrator forget first, so that nothing
new is written with the old name. Everything is archived, and the files that name the person are written anew; one
signed document puts them in place of the old ones, which are deleted. Rows follow. Last, Kafka gives up what it holds
of it: whoever needs that reads the archive from then on (ADR 6).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from projections import erasing as rows
from projections import rebuild
from projections.connections import connect
from streams.agents import state_codec
from streams.agents.orchestrator import EVENTS, INTAKE
from streams.agents.redecide import ERASED_HEADER
from streams.archive import files
from streams.archive.archiver import Archiver
from streams.archive.erasures import Erased, Erasures
from streams.archive.history import History
from streams.archive.manifests import Manifest, Overtaken
from streams.archive.operations import Operations
from streams.archive.reading import Archive
from streams.archive.settings import TOPICS
from streams.archive.snapshots import Snapshots, read_state
from streams.archive.stored_objects import StoredObjects
from streams.archive.trimming import delete_before, reached
from streams.codec import avro, cloudevents
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import Erase
from streams.domain.envelope import Envelope, derive_id
from streams.domain.erasing import Erasing
from streams.domain.errors import IncidentsError, InvalidEvent, UnknownSchema
from streams.domain.outputs import CommandRejected
from streams.runtime.commanding import carry_out
from streams.runtime.offsets import await_markers
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import DatabaseSettings, KafkaSettings

_SALT, _SCHEMA = "ce_datasalt", "ce_dataschema"
_STEP_S = 0.2
Report = Callable[[str], None]


class CannotErase(IncidentsError):  # noqa: N818
    """What an erasure needs is missing, or somebody else is in the way; what was done stays, run it again."""


@dataclass(frozen=True, slots=True)
class Request:
    """Whom to erase, where, who asked for it and why."""

    tenant: str
    identifier: str
    actor: str
    reason: str = ""


@dataclass(slots=True)
class Done:
    """What was erased. ``records`` by topic, ``events`` by type; ``left`` says what was not, or not yet, and why.

    ``attributes`` counts records that name the person in their envelope.
    """

    pseudonym: str = ""
    records: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    state_items: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    objects: int = 0
    snapshots: int = 0
    backups: int = 0
    generations: list[str] = field(default_factory=list)
    deleted_from_kafka: dict[str, int] = field(default_factory=dict)
    attributes: int = 0
    left: list[str] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether the person is named anywhere."""
        return bool(self.records or self.state_items or self.rows)

    def count(self, topic: str) -> None:
        """One more record of the topic."""
        self.records[topic] = self.records.get(topic, 0) + 1


@dataclass(slots=True)
class Eraser:
    """One run; ``archiver`` is one of this process, ``wait_s`` how long others are waited for."""

    kafka: KafkaSettings
    database: DatabaseSettings
    archiver: Archiver
    archive: Archive
    operations: Operations
    wait_s: float = 60.0
    report: Report = lambda _: None

    def look(self, request: Request) -> Done:
        """What there is to erase; changes nothing. Raises ``Rejected`` for a bad identifier."""
        erasing = Erasing(request.identifier, "")
        done = Done(left=list(_NOT_REACHED))
        objects = StoredObjects(self.archive.storage, request.tenant, erasing)
        events: dict[str, str] = {}
        for topic in TOPICS:
            with History(self.kafka, topic, self.archive) as log:
                number = self._partition(request, len(spans := log.spans()))
                for messages in log.read({number: spans[number].begin}, {number: spans[number].end}):
                    for one in messages:
                        record = StoredRecord(
                            topic, number, one.offset(), 0, one.key(), one.value(), tuple(one.headers() or ())
                        )
                        self._left_of(record, request.tenant, erasing, done, events, objects)
        for key, value in read_state(self.kafka, number)[0].items():
            done.state_items += key.startswith(request.tenant.encode() + b"\x1f") and _in_state(key, value, erasing)
        done.objects = len(objects.gone())
        with connect(self.database, "owner", name="erase", autocommit=True) as owner:
            found = rows.count(owner, request.tenant, erasing, events)
        done.rows, done.generations = found.changed, found.dropped
        self._say_left(done, found)
        return done

    def run(self, request: Request, now: int) -> Done:
        """Erase; raises ``Rejected``, ``CannotErase``, ``NoAnswer``, ``AnotherRebuild`` and what archiving raises."""
        Erasing(request.identifier, "")
        done = Done(left=list(_NOT_REACHED))
        with rebuild.alone(self.database) as owner:
            self._finish_former()
            done.pseudonym = self._former_pseudonym(request) or f"erased-{secrets.token_hex(4)}"
            erasing = Erasing(request.identifier, done.pseudonym)
            self.report("state")
            done.state_items = self._forget(request, done.pseudonym, now)
            self.report("archive")
            self._await_decided(request)
            self._archive_all()
            self._await_projections(request)
            self._rewrite(request, erasing, done, now)
            self.report("PostgreSQL")
            found = rows.erase(owner, request.tenant, erasing, self._events(done.pseudonym))
            done.rows, done.generations = found.changed, found.dropped
            self.operations.take(self.database, now)
            done.backups = self.operations.remove_others()
            self.report("Kafka")
            self._delete_from_kafka(request, erasing, done)
            self._say_left(done, found)
        return done

    def _partition(self, request: Request, count: int) -> int:
        return partition_of(request.tenant.encode(), count)

    def _of_tenant(self, request: Request) -> tuple[int, list[Manifest]]:
        """The tenant's partition and the manifests of its topics."""
        with PartitionReader(self.kafka) as log:
            number = self._partition(request, len(log.partitions(self.kafka.topic(INTAKE))))
        return number, [self.archive.manifest(topic, number) for topic in TOPICS]

    def _events(self, pseudonym: str) -> list[str]:
        """The events whose data was erased under a pseudonym, by this run and by those that did not end."""
        found = Erasures(self.archive.storage, self.archive.prefix).all()
        return [event for one in found if one.pseudonym == pseudonym for event in one.events]

    def _finish_former(self) -> None:
        """Delete what earlier runs replaced and could not delete any more."""
        former = list(Erasures(self.archive.storage, self.archive.prefix).verified(self.archiver.verifier))
        for erased in former[-1:]:
            self._delete_files(erased)

    def _delete_files(self, erased: Erased) -> None:
        for key in (*erased.files, *erased.objects):
            self.archive.storage.remove(key)

    def _former_pseudonym(self, request: Request) -> str:
        """That of a run for the same person that did not come to its end: its command is on the intake still."""
        wanted = Erasing(request.identifier, "").identifier.lower()
        for record in self._in_kafka(INTAKE, request):
            headers = dict(record.headers)
            if headers.get("ce_type") == TYPE_OF[Erase].encode():
                _, command = cloudevents.decode(record.headers, record.value)
                if command.identifier.strip().lower() == wanted:
                    return str(command.pseudonym)
        return ""

    def _in_kafka(self, topic: str, request: Request) -> Iterator[StoredRecord]:
        """The tenant's records of a topic that Kafka holds."""
        name = self.kafka.topic(topic)
        with PartitionReader(self.kafka) as log:
            number = self._partition(request, len(log.partitions(name)))
            first, end = log.bounds(name, number)
            for record in log.read(name, number, first, end):
                if record.key == request.tenant.encode():
                    yield record

    def _forget(self, request: Request, pseudonym: str, now: int) -> int:
        """Have the orchestrator forget the person; how many items of its state named them."""
        with PartitionReader(self.kafka) as log:
            number = self._partition(request, len(log.partitions(self.kafka.topic(INTAKE))))
        erasing = Erasing(request.identifier, pseudonym)
        tenant = request.tenant.encode() + b"\x1f"
        items, _ = read_state(self.kafka, number)
        named = sum(key.startswith(tenant) and _in_state(key, value, erasing) for key, value in items.items())
        command = Erase(request.identifier, pseudonym, request.actor, request.reason)
        command_id = derive_id("erase", request.tenant, pseudonym, str(now))
        envelope = Envelope(command_id, "/cli", TYPE_OF[Erase], request.tenant)
        result = carry_out(self.kafka, envelope, command, self.wait_s)
        if isinstance(result, CommandRejected):
            raise CannotErase(f"refused: {result.reason}: {result.detail}")
        return named

    def _await_decided(self, request: Request) -> None:
        """Wait until what was decided before the person was forgotten can be read, so that all of it is archived."""
        number, _ = self._of_tenant(request)
        try:
            await_markers(self.kafka, map(self.kafka.topic, TOPICS), number, self.wait_s)
        except TimeoutError as error:
            raise CannotErase(f"{error}: run it again") from error

    def _archive_all(self) -> None:
        """Archive everything, with the state as it is now."""
        for _ in range(5):
            try:
                self.archiver.round(final=True)
            except Overtaken:
                continue  # by the archiver that runs anyway
            return
        raise CannotErase("another archiver was faster five times: run it again")

    def _await_projections(self, request: Request) -> None:
        """Wait until PostgreSQL holds what was archived: a row that comes later would name the person again."""
        number, _ = self._of_tenant(request)
        deadline = time.monotonic() + self.wait_s
        for topic in TOPICS[1:3]:
            end = self._last_committed(topic, number)
            while (at := self.archiver.passed(topic).get(number, 0)) < end:
                if time.monotonic() > deadline:
                    raise CannotErase(
                        f"the projector is at {at} of {topic}[{number}], {end} is needed: is it running? Or has it"
                        " left a read model behind (its log names the rebuild that helps)?"
                    )
                time.sleep(_STEP_S)

    def _last_committed(self, topic: str, number: int) -> int:
        """The offset after the last archived record: behind it may be a transaction's marker."""
        manifest = self.archive.manifest(topic, number)
        last = [record.offset for record in self.archive.file(manifest, manifest.files[-1])] if manifest.files else []
        restored = manifest.entries and manifest.entries[-1].kind == "restored"
        return manifest.position if restored or not last else last[-1] + 1

    def _rewrite(self, request: Request, erasing: Erasing, done: Done, now: int) -> None:
        """Put files without the person in place of those that name them, and delete those."""
        number, manifests = self._of_tenant(request)
        replaced: dict[str, str] = {}
        events: dict[str, str] = {}
        objects = StoredObjects(self.archive.storage, request.tenant, erasing)
        self.archive.forget_files()
        for manifest in manifests:
            for entry in manifest.files:
                records = self.archive.file(manifest, entry)
                left = [self._left_of(record, request.tenant, erasing, done, events, objects) for record in records]
                if all(new is old for new, old in zip(left, records, strict=True)):
                    continue
                content = files.encode(manifest.topic, number, left)
                replaced[self.archive.held_in(entry)] = self.archive.storage.put(content, files.CONTENT_TYPE)
        erasures = Erasures(self.archive.storage, self.archive.prefix)
        following, previous = erasures.next()
        reason = erasing.text(request.reason)
        who = request.tenant, done.pseudonym, request.actor, reason
        erased = Erased(following, *who, now, replaced, events, objects.gone(), previous)
        if not erasures.publish(erased, self.archiver.signer):
            raise CannotErase("another erasure was published meanwhile: run it again")
        self.archive.forget_files()
        self._delete_files(erased)
        done.files, done.objects = len(replaced), len(erased.objects)
        done.snapshots = Snapshots(self.archive.storage, self.archive.prefix).remove_others(number)

    def _left_of(
        self,
        record: StoredRecord,
        tenant: str,
        erasing: Erasing,
        done: Done,
        events: dict[str, str],
        objects: StoredObjects,
    ) -> StoredRecord:
        """What is left of a record, the same record where nothing is to be erased; notes what was in ``done``."""
        if record.key != tenant.encode():
            return record
        headers = {name: value.decode(errors="replace") for name, value in record.headers}
        done.attributes += any(erasing.mentions(value) for name, value in headers.items() if name.startswith("ce_"))
        try:
            envelope, data = cloudevents.decode(record.headers, record.value)
        except (InvalidEvent, UnknownSchema):
            return self._unreadable(record, erasing, done)
        left = erasing.value(data)
        objects.take(data, left)
        if left == data:
            return record
        value, schema = avro.encode(left)
        kept = [(n, schema.encode() if n == _SCHEMA else v) for n, v in record.headers if n != _SALT]
        done.count(record.topic)
        if record.topic == EVENTS:
            done.events[envelope.type] = done.events.get(envelope.type, 0) + 1
            events[envelope.id] = sha256(value).hexdigest()
        return replace(record, value=value, headers=tuple(kept))

    def _unreadable(self, record: StoredRecord, erasing: Erasing, done: Done) -> StoredRecord:
        """Of what cannot be read and names the person nothing is left but its headers."""
        if not record.value or erasing.raw(record.value) == record.value:
            return record
        done.count(record.topic)
        return replace(record, value=b"", headers=(*record.headers, (ERASED_HEADER, b"1")))

    def _delete_from_kafka(self, request: Request, erasing: Erasing, done: Done) -> None:
        """Delete the tenant's partition up to the last record that names the person; all of it is archived."""
        offsets: dict[tuple[str, int], int] = {}
        objects = StoredObjects(self.archive.storage, request.tenant, erasing)
        for topic in TOPICS:
            last = -1
            for record in self._in_kafka(topic, request):
                if self._left_of(record, request.tenant, erasing, Done(), {}, objects) is not record:
                    last, number = record.offset, record.partition
            if last >= 0:
                end = min(last + 1, self.archive.manifest(topic, number).position)
                self._require_passed(topic, number, end)
                offsets[topic, number] = end
        delete_before(self.kafka, offsets)
        done.deleted_from_kafka = {f"{topic}[{number}]": end for (topic, number), end in offsets.items()}

    def _require_passed(self, topic: str, number: int, end: int) -> None:
        if topic in TOPICS[:3] and (at := reached(self.kafka, topic, number, self.archiver.passed)) < end:
            raise CannotErase(f"whoever works from {topic}[{number}] is at {at}, not at {end} yet: run it again")

    def _say_left(self, done: Done, found: rows.Rows) -> None:
        if done.attributes:
            done.left.insert(0, f"{done.attributes} records name the person in their attributes, which hashes cover")
        for table, number in found.left.items():
            done.left.insert(0, f"{number} rows of {table} name the person: change or delete them by hand")


_NOT_REACHED = (
    "what was sent to providers, and what left by exports, subscriptions and logs",
    "Kafka's files: what was deleted is unreadable at once and leaves the disk with its segment",
    "command-results: deleted after a day; orchestrator-state: compacted within minutes",
    "PostgreSQL: free space and WAL until they are written over",
    "backups made outside of the archive, and versions of objects that the S3 server keeps",
    "a digest of each erased datum: who holds the tenant's first message can confirm a guess of the whole datum",
)
"""What no erasure of this product reaches."""


def _in_state(key: bytes, value: bytes, erasing: Erasing) -> bool:
    """Whether an item of the state names the person."""
    _, kind, _ = state_codec.split_key(key)
    if kind in {"seen", "head"}:
        return False
    item = state_codec.decode(kind, value)
    return bool(erasing.value(item) != item)
