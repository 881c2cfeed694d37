"""Rebuild on real Kafka and PostgreSQL."""

from __future__ import annotations

import secrets

import pytest

from projections import checkpoints
from projections.connections import Connection
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision
from tests.harness.stack import Connections
from tests.projections.rebuilding import many, projecting, run, send, wait_projected

pytestmark = pytest.mark.stack


@pytest.fixture
def kafka(stack: Connections) -> KafkaSettings:
    """Topics of the test's own."""
    prefix = f"rebuild-{secrets.token_hex(4)}-"
    settings = KafkaSettings(bootstrap_servers=stack["KAFKA_BOOTSTRAP_SERVERS"], topic_prefix=prefix)
    provision(settings, partitions=2)
    return settings


def test_a_rebuild_swaps_to_equal_rows_and_the_projector_goes_on(
    kafka: KafkaSettings, database: DatabaseSettings, owner: Connection
) -> None:
    histories = [many("acme", 0, 30), many("other", 1, 20)]
    count = sum(len(one.records) for one in histories)
    with projecting(kafka, database):
        for one in histories:
            send(kafka, one.records)
        wait_projected(owner, count)
        report = run(kafka, database)
        assert report.swapped
        assert report.equal
        assert {(one.live, one.new) for one in report.compared} == {(1, 2)}
        assert set(checkpoints.active(owner).values()) == {2}
        later = many("later", 0, 10).records
        offset = len(histories[0].records)
        del offset
        send(kafka, later)
        wait_projected(owner, count + len(later))
