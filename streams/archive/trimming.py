"""Deletes from Kafka what is old enough, archived, and passed by everybody who works from there.

Kafka's own retention goes by age alone: it would delete what an archiver that stood still for a month never saved. So
the topics are kept for ever as far as Kafka knows, and this alone deletes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

import schemas
from streams.agents.orchestrator import EVENTS, INTAKE, STATE
from streams.archive.manifests import Manifest
from streams.archive.settings import ArchiveSettings
from streams.archive.snapshots import position_of
from streams.runtime.partition import POSITION
from streams.runtime.partition_reader import PartitionReader
from streams.runtime.restore import restore
from streams.runtime.settings import KafkaSettings

_TIMEOUT_S = 30.0
_NO_READER = frozenset({"incident-intake-dlq"})
"""Topics that nothing works off: they are read when somebody asks."""

Passed = Callable[[str], Mapping[int, int]]
"""How far PostgreSQL holds what a topic brings, by partition; what is missing has not been read at all."""


def kept_ms(topic: str, settings: ArchiveSettings) -> int:
    """How long an archived record of a topic of the catalogue stays in Kafka; 0: for ever."""
    if topic == EVENTS:
        return int(settings.events_kept_s * 1000)
    return next(spec.kept_ms for spec in schemas.topics() if spec.name == topic)


def due(kafka: KafkaSettings, log: PartitionReader, manifest: Manifest, before: int, passed: Passed) -> int:
    """The offset before which a partition can be deleted: archived, older than ``before``, and passed by its readers.

    ``before`` is in milliseconds. Where nothing can be, where the partition begins.
    """
    topic = kafka.topic(manifest.topic)
    first, _ = log.bounds(topic, manifest.partition)
    old = log.start_at(topic, manifest.partition, before)
    wanted = min(old, manifest.position)
    if wanted > first and manifest.topic not in _NO_READER:
        wanted = min(wanted, reached(kafka, manifest.topic, manifest.partition, passed))
    return max(first, wanted)


def reached(kafka: KafkaSettings, topic: str, partition: int, passed: Passed) -> int:
    """How far whoever works from a partition has come: the orchestrator on the intake, projections elsewhere."""
    if topic != INTAKE:
        return passed(topic).get(partition, 0)
    position: dict[bytes, bytes] = {}

    def load(key: bytes, value: bytes | None) -> None:
        if key == POSITION and value is not None:
            position[key] = value

    restore(kafka, kafka.topic(STATE), partition, load)
    return position_of(position)


def delete_before(kafka: KafkaSettings, offsets: Mapping[tuple[str, int], int]) -> None:
    """Delete the records before these offsets, by topic (of the catalogue) and partition; raises ``KafkaException``.

    From then on nobody can read them; the files go with Kafka's next look at its segments.
    """
    admin = AdminClient(kafka.librdkafka())
    places = [TopicPartition(kafka.topic(topic), number, offset) for (topic, number), offset in offsets.items()]
    for future in admin.delete_records(places, request_timeout=_TIMEOUT_S).values() if places else ():
        future.result()
