"""Kafka for a test module: settings with a topic prefix that no other module uses."""

from __future__ import annotations

import secrets

import pytest

from streams.runtime.settings import KafkaSettings
from tests.harness.stack import Connections


@pytest.fixture(scope="module")
def topic_prefix() -> str:
    """A prefix of topics, groups and transactional ids, new for each test module."""
    return f"t{secrets.token_hex(4)}-"


@pytest.fixture(scope="module")
def kafka_settings(stack: Connections, topic_prefix: str) -> KafkaSettings:
    """Where Kafka is, with the module's prefix; topics are not created (`streams.runtime.topics.provision` does it)."""
    return KafkaSettings(bootstrap_servers=stack["KAFKA_BOOTSTRAP_SERVERS"], topic_prefix=topic_prefix)


def own_topics(settings: KafkaSettings) -> KafkaSettings:
    """The same Kafka, with the topics of the catalogue under a prefix that nobody else has."""
    from streams.runtime.topics import provision

    own = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}{secrets.token_hex(3)}-"})
    provision(own)
    return own
