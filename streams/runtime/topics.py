"""Creates the topics of the catalogue and checks those that exist; nothing else ever creates a topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

import schemas
from streams.domain.errors import IncidentsError
from streams.runtime.settings import KafkaSettings

_TIMEOUT_S = 30
_RETENTION = "retention.ms"


class WrongTopics(IncidentsError):  # noqa: N818
    """Topics exist that differ from the catalogue in a way that would break an order or lose data."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What was done about one topic."""

    topic: str
    partitions: int
    outcome: Literal["created", "exists"]


def provision(settings: KafkaSettings, *, partitions: int | None = None, create: bool = True) -> Sequence[Provisioned]:
    """Create what is missing (unless told not to) and check the rest; safe to run twice and side by side.

    ``partitions`` overrides the catalogue's count for every topic. A topic that Kafka would delete from by age, though
    only the archiver may, is kept from now on. Raises ``WrongTopics`` for a topic that is missing
    though it should not be created, has another partition count, is compacted where it must not be (or the other way
    round) or takes its time from the producer where the broker's clock is needed.
    """
    admin = AdminClient(settings.librdkafka())
    wanted = {settings.topic(spec.name): spec for spec in schemas.topics()}
    existing = admin.list_topics(timeout=_TIMEOUT_S).topics
    missing = [name for name in wanted if name not in existing]
    if missing and not create:
        raise WrongTopics(f"missing: {', '.join(missing)} (create them with: incidents topics)")
    new = [
        NewTopic(
            name,
            num_partitions=partitions or wanted[name].partitions,
            replication_factor=settings.replication_factor,
            config={**wanted[name].config, "min.insync.replicas": str(settings.min_insync_replicas)},
        )
        for name in missing
    ]
    for future in admin.create_topics(new, request_timeout=_TIMEOUT_S).values() if new else ():
        _ignore_existing(future.result)
    if create:
        _keep(
            admin, [name for name, spec in wanted.items() if name in existing and spec.config.get(_RETENTION) == "-1"]
        )
    _await_leaders(settings, {name: partitions or wanted[name].partitions for name in missing})
    _check(admin, {name: (spec, partitions or spec.partitions) for name, spec in wanted.items()})
    return [
        Provisioned(name, partitions or spec.partitions, "created" if name in missing else "exists")
        for name, spec in wanted.items()
    ]


def _keep(admin: AdminClient, names: list[str]) -> None:
    """Take retention by age away from topics that an earlier version created with one."""
    found = _configs(admin, names) if names else {}
    changes = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[ConfigEntry(_RETENTION, "-1", incremental_operation=AlterConfigOpType.SET)],
        )
        for name, configs in found.items()
        if configs[_RETENTION].value != "-1"
    ]
    for future in admin.incremental_alter_configs(changes, request_timeout=_TIMEOUT_S).values() if changes else ():
        future.result()


def _ignore_existing(result: Callable[[], object]) -> None:
    try:
        result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def is_too_early(error: BaseException) -> bool:
    """Whether a topic is merely not known everywhere yet: it was just created, or its leader just changed."""
    early = {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001  as the client says it; its only name
    }
    return isinstance(error, KafkaException) and error.args[0].code() in early


@retry(retry=retry_if_exception(is_too_early), wait=wait_fixed(0.2), stop=stop_after_delay(_TIMEOUT_S), reraise=True)
def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, ConfigEntry]]:
    """The topics' settings; a topic that was just created is known to the brokers only a moment later."""
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = admin.describe_configs(resources, request_timeout=_TIMEOUT_S)
    return {resource.name: future.result() for resource, future in found.items()}


def _await_leaders(settings: KafkaSettings, partitions: Mapping[str, int]) -> None:
    """Return once every partition of the topics has a leader that answers: before, clients would only be refused."""
    consumer = Consumer(settings.librdkafka() | {"group.id": f"{settings.topic_prefix}incidents-provision"})
    answered = retry(
        retry=retry_if_exception(is_too_early), wait=wait_fixed(0.1), stop=stop_after_delay(_TIMEOUT_S), reraise=True
    )(lambda partition: consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S))
    try:
        for name, count in partitions.items():
            for number in range(count):
                answered(TopicPartition(name, number))
    finally:
        consumer.close()


def _check(admin: AdminClient, wanted: dict[str, tuple[schemas.TopicSpec, int]]) -> None:
    configs = _configs(admin, list(wanted))
    existing = admin.list_topics(timeout=_TIMEOUT_S).topics
    wrong = []
    for name, (spec, partitions) in wanted.items():
        found = len(existing[name].partitions) if name in existing else 0
        if found != partitions:
            wrong.append(f"{name} has {found} partitions, the catalogue says {partitions} (growing is a migration)")
        for key in ("cleanup.policy", "message.timestamp.type", _RETENTION):
            value, expected = configs[name][key].value, spec.config.get(key)
            if expected is not None and value != expected and (key != _RETENTION or expected == "-1"):
                wrong.append(f"{name} has {key}={value}, the catalogue says {expected}")
    if wrong:
        raise WrongTopics("; ".join(wrong))
