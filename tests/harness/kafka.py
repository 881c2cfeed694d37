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
