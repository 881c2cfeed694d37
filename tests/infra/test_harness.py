"""The fixtures that all other tests stand on."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from infra.local.ports import is_free
from infra.local.settings import StackSettings
from streams.runtime.settings import KafkaSettings, ObjectStorageSettings
from tests.harness import stack as harness
from tests.harness.objects import client_of
from tests.harness.postgres import created_database
from tests.harness.stack import NAMED, Connections, free_offset


@pytest.mark.stack
def test_kafka_answers_with_a_prefix_of_the_module(kafka_settings: KafkaSettings, topic_prefix: str) -> None:
    assert AdminClient(kafka_settings.librdkafka()).list_topics(timeout=10.0).brokers
    assert kafka_settings.topic("incident-events") == f"{topic_prefix}incident-events"
    assert topic_prefix.endswith("-")


@pytest.mark.stack
def test_a_database_is_fresh_and_dropped_at_the_end(stack: Connections) -> None:
    with created_database(stack["DATABASE_URL"]) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE mine (n int)")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.stack
def test_a_database_is_copied_from_its_template(stack: Connections) -> None:
    with created_database(stack["DATABASE_URL"]) as template:
        with psycopg.connect(template) as connection:
            connection.execute("CREATE TABLE copied AS SELECT 42 AS n")
        name = template.rpartition("/")[2]
        with created_database(stack["DATABASE_URL"], name) as url, psycopg.connect(url) as connection:
            assert connection.execute("SELECT n FROM copied").fetchone() == (42,)


@pytest.mark.stack
def test_an_empty_database_has_no_table(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        assert connection.execute(tables).fetchone() == (0,)


@pytest.mark.stack
def test_a_bucket_holds_what_is_put(object_storage: ObjectStorageSettings) -> None:
    client, content = client_of(object_storage), secrets.token_bytes(1000)
    client.put_object(
        bucket_name=object_storage.bucket, object_name="a/b", data=io.BytesIO(content), length=len(content)
    )
    assert client.stat_object(bucket_name=object_storage.bucket, object_name="a/b").size == len(content)


@pytest.mark.parametrize("seed", ["one", "two", "three"])
def test_a_free_offset_has_all_ports_free(seed: str) -> None:
    ports = StackSettings(port_offset=free_offset(seed)).all_ports()
    assert len(set(ports)) == len(ports)
    assert all(is_free(port) for port in ports)
    assert max(ports) < 32768, "above begin the ephemeral ports, which any connection may take"


def test_offsets_of_a_hundred_keep_all_stacks_apart() -> None:
    seen: set[int] = set()
    for offset in range(0, 12000, 100):
        ports = set(StackSettings(port_offset=offset).all_ports())
        assert not ports & seen
        seen |= ports


def test_a_second_session_gets_a_home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    with ExitStack() as first, ExitStack() as second:
        homes = harness._own_home(first), harness._own_home(second)
    assert [home.name for home in homes] == ["test", "test-2"]


def test_servers_that_the_environment_names_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMED:
        monkeypatch.setenv(name, "named")
    monkeypatch.setenv("S3_ACCESS_KEY", "key")
    given = next(_wrapped(harness.stack)())
    assert {given[name] for name in NAMED} == {"named"}
    assert given["S3_ACCESS_KEY"] == "key"
    assert all(key.startswith(("KAFKA_", "DATABASE_", "S3_")) for key in given)


def _wrapped(fixture: object) -> Callable[..., Iterator[Connections]]:
    return fixture.__wrapped__  # type: ignore[attr-defined, no-any-return]  # pytest's own wrapper of the function
