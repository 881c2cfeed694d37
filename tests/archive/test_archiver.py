"""The archiver on real Kafka and S3: complete, without overlap, killed at any instant, two at once, S3 away."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from streams.archive.archiver import Archiver, OtherLog
from streams.archive.checkpoints import BadSignature, Checkpoints, Verifier
from streams.archive.files import DamagedFile
from streams.archive.manifests import Entry, Manifest, Overtaken
from streams.archive.reading import Archive, completeness
from streams.archive.settings import TOPICS, ArchiveSettings
from streams.archive.verifying import verify_archive
from streams.runtime.object_storage import ObjectStorage, StorageUnavailable
from streams.runtime.settings import KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import SIGNING, MakeArchiver, contents, decide
from tests.harness.objects import client_of
from tests.harness.record import send, signals
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
EVENTS = "incident-events"


def archived(archive: Archive, topic: str) -> dict[int, list[tuple[object, ...]]]:
    """What the archive holds of a topic, as ``contents`` gives it of Kafka."""
    found: dict[int, list[tuple[object, ...]]] = {}
    for name, partition in archive.partitions():
        if name == topic:
            records = archive.records(archive.manifest(topic, partition))
            found[partition] = [(r.key, r.value, r.headers, r.timestamp) for r in records]
    return found


def complete(archive: Archive, kafka: KafkaSettings) -> None:
    """Every topic is archived to its end, each record once."""
    for topic in TOPICS:
        assert archived(archive, topic) == contents(kafka, topic), topic


def busiest(archive: Archive, topic: str = EVENTS) -> Manifest:
    """The manifest with the most records."""
    manifests = [archive.manifest(name, partition) for name, partition in archive.partitions() if name == topic]
    return max(manifests, key=lambda one: sum(entry.count for entry in one.files))


def test_everything_is_archived_once_and_a_restarted_archiver_goes_on(
    kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive, tmp_path: Path
) -> None:
    decide(kafka, "a", 600, tmp_path / "worker.log")
    assert make_archiver().round(final=True).records > 600
    complete(archive, kafka)
    decide(kafka, "b", 600, tmp_path / "worker.log")
    again = make_archiver(settings=ArchiveSettings(file_bytes=20_000))
    assert again.round(final=True).files > 4
    assert again.round().files == 0
    complete(archive, kafka)
    found = verify_archive(archive, SIGNING)
    assert found.whole, (found.problems, found.damage)
    assert found.events == sum(map(len, contents(kafka, EVENTS).values()))
    assert found.checkpoints > 3


class Killed(BaseException):
    """As SIGKILL, at a chosen instant."""


@pytest.mark.parametrize("instant", ["after a file", "after an entry", "before a checkpoint"])
def test_a_kill_leaves_nothing_out_and_nothing_twice(
    kafka: KafkaSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    instant: str,
) -> None:
    decide(kafka, "a", 300, tmp_path / "worker.log")
    with monkeypatch.context() as patch:
        if instant == "after a file":
            patch.setattr(Manifest, "append", lambda *_: (_ for _ in ()).throw(Killed))
        elif instant == "after an entry":
            append = Manifest.append
            patch.setattr(Manifest, "append", lambda *a: (append(*a), (_ for _ in ()).throw(Killed)))
        else:
            patch.setattr(Checkpoints, "publish", lambda *_: (_ for _ in ()).throw(Killed))
        for _ in range(3):
            with pytest.raises(Killed):
                make_archiver().round(final=True)
    make_archiver().round(final=True)
    complete(archive, kafka)
    assert verify_archive(archive, SIGNING).whole


def test_two_archivers_cannot_both_go_on_from_one_position(
    kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive, tmp_path: Path
) -> None:
    decide(kafka, "a", 300, tmp_path / "worker.log")
    one, other = make_archiver(), make_archiver()
    one.round(final=True)
    other.round(final=True)
    send(kafka, signals(300, "b"))
    other.round()
    with pytest.raises(Overtaken):
        one.round()
    assert one.round().files == 0, "it read again where the other had come"
    complete(archive, kafka)


def test_an_archiver_that_is_overtaken_stays_ready_and_goes_on(
    kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive, tmp_path: Path
) -> None:
    decide(kafka, "a", 300, tmp_path / "worker.log")
    one, other = make_archiver(settings=ArchiveSettings(interval_s=0.1)), make_archiver()
    one.round()
    one.problem = ""
    send(kafka, signals(300, "b"))
    other.round()
    before = completeness(archive)
    said = set()

    def has_made_a_round() -> bool:
        said.add(one.checks()["archive"])
        return completeness(archive) > before

    running = threading.Thread(target=one.run)
    running.start()
    try:
        wait_until(has_made_a_round, "the one that was overtaken to go on", 60)
    finally:
        one.stop.set()
        running.join(60)
    assert said == {"ok"}


def test_storage_away_loses_nothing(
    kafka: KafkaSettings,
    make_archiver: MakeArchiver,
    archive: Archive,
    object_storage: ObjectStorageSettings,
    tmp_path: Path,
) -> None:
    decide(kafka, "a", 100, tmp_path / "worker.log")
    away = ObjectStorage(object_storage.model_copy(update={"endpoint": "http://127.0.0.1:9"}))
    archiver: Archiver = make_archiver(into=away)
    with pytest.raises(StorageUnavailable):
        archiver.round()
    archiver.storage = archive.storage
    archiver.round(final=True)
    complete(archive, kafka)


def test_another_cluster_and_a_log_that_lost_records_are_refused(
    kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive
) -> None:
    send(kafka, signals(30, "a"))
    make_archiver().round()
    manifest = busiest(archive, TOPICS[0])
    manifest.append(Entry(manifest.position, manifest.position + 5, object="sha256/none", cluster="another"))
    with pytest.raises(OtherLog, match="cluster another"):
        make_archiver().round()
    cluster = manifest.entries[0].cluster
    manifest.append(Entry(manifest.position, manifest.position + 5, object="sha256/none", cluster=cluster))
    with pytest.raises(OtherLog, match="has lost records"):
        make_archiver().round()


def put(settings: ObjectStorageSettings, key: str, content: bytes) -> None:
    """Overwrite an object, as somebody who has the bucket can."""
    import io

    client_of(settings).put_object(settings.bucket, key, io.BytesIO(content), len(content))


@pytest.fixture
def filled(kafka: KafkaSettings, make_archiver: MakeArchiver, archive: Archive, tmp_path: Path) -> Archive:
    """An archive with a few files and two checkpoints in its busiest partition."""
    for tag in ("a", "b"):
        decide(kafka, tag, 200, tmp_path / "worker.log")
        make_archiver().round(final=True)
    assert verify_archive(archive, SIGNING).whole
    return archive


def problems(archive: Archive) -> Sequence[str]:
    return verify_archive(archive, SIGNING).problems


def test_a_damaged_file_is_named_and_skipped_only_on_request(
    filled: Archive, object_storage: ObjectStorageSettings
) -> None:
    manifest = busiest(filled)
    entry = manifest.files[0]
    content = bytearray(filled.storage.get(entry.object))
    content[len(content) // 2] ^= 1
    put(object_storage, entry.object, bytes(content))
    assert any(entry.object in problem for problem in problems(filled))
    with pytest.raises(DamagedFile, match=entry.object):
        list(filled.records(manifest))
    skipping = Archive(filled.storage, filled.prefix, skip_damaged=True)
    assert len(list(skipping.records(manifest))) == sum(one.count for one in manifest.files[1:])
    assert entry.object in skipping.skipped[0]


def test_a_missing_file_is_named(filled: Archive, object_storage: ObjectStorageSettings) -> None:
    key = busiest(filled).files[-1].object
    client_of(object_storage).remove_object(object_storage.bucket, key)
    assert any(key in problem and "missing" in problem for problem in problems(filled))


def test_a_rewritten_and_a_truncated_manifest_are_noticed(
    filled: Archive, object_storage: ObjectStorageSettings
) -> None:
    import orjson

    manifest = busiest(filled)
    key = f"{filled.prefix}manifests/{EVENTS}/{manifest.partition:05d}/00000000.json"
    page, _ = filled.storage.document(key)
    changed = orjson.loads(page)
    changed["entries"][0]["count"] += 1
    put(object_storage, key, orjson.dumps(changed))
    assert any("was changed" in problem for problem in problems(filled))
    cut = orjson.loads(page)
    cut["entries"].pop()
    put(object_storage, key, orjson.dumps(cut))
    found = verify_archive(filled, SIGNING)
    assert any("truncated or rewritten" in problem for problem in found.problems)
    assert {damage.kind for damage in found.damage} == {"truncated"}


def test_a_forged_and_a_removed_checkpoint_are_noticed(filled: Archive, object_storage: ObjectStorageSettings) -> None:
    import orjson

    partition = busiest(filled).partition
    keys = list(filled.storage.keys(f"{filled.prefix}checkpoints/{partition:05d}/"))
    first, _ = filled.storage.document(keys[0])
    forged = orjson.loads(first)
    forged["payload"] = forged["payload"].replace('"number":1', '"number": 1')
    put(object_storage, keys[0], orjson.dumps(forged))
    assert any("signature" in problem for problem in problems(filled))
    put(object_storage, keys[0], first)
    assert not problems(filled)
    client_of(object_storage).remove_object(object_storage.bucket, keys[0])
    assert any("missing" in problem for problem in problems(filled))


def test_a_key_that_is_not_trusted_has_signed_nothing(filled: Archive) -> None:
    import base64

    other = SIGNING.model_copy(update={"trusted_keys": base64.b64encode(b"p" * 32).decode()})
    partition = busiest(filled).partition
    with pytest.raises(BadSignature, match="not trusted"):
        list(Checkpoints(filled.storage, filled.prefix).read(partition, Verifier(other)))
