"""Kafka and PostgreSQL for a measurement: topics and a migrated database that nobody else has, removed at the end."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from confluent_kafka.admin import AdminClient
from psycopg import sql
from pydantic import SecretStr

from infra.local import stack as local_stack
from infra.local.settings import StackSettings
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.topics import provision

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def servers() -> Iterator[tuple[KafkaSettings, DatabaseSettings]]:
    """Those that KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name, else a local stack of its own."""
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ and "DATABASE_URL" in os.environ:
        with _own(os.environ) as found:
            yield found
        return
    (ROOT / ".incidents").mkdir(exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / ".incidents"))
    home.chmod(0o755)  # PostgreSQL runs as another user where this runs as root
    stack = local_stack.open_stack(StackSettings(home=home, port_offset=int(os.environ.get("BENCH_PORT_OFFSET", "0"))))
    try:
        with _own(local_stack.up(stack, local_stack.quiet)) as found:
            yield found
    finally:
        local_stack.down(stack, local_stack.quiet)
        shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(home)


@contextmanager
def _own(named: Mapping[str, str]) -> Iterator[tuple[KafkaSettings, DatabaseSettings]]:
    from projections.migrate import upgrade  # a process that a measurement starts imports this module and not that

    tag = secrets.token_hex(4)
    kafka = KafkaSettings(bootstrap_servers=named["KAFKA_BOOTSTRAP_SERVERS"], topic_prefix=f"bench-{tag}-")
    url, name = named["DATABASE_URL"], sql.Identifier(f"bench_{tag}")
    topics = [one.topic for one in provision(kafka)]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            database = DatabaseSettings(url=SecretStr(urlsplit(url)._replace(path=f"/bench_{tag}").geturl()))
            upgrade(database)
            yield kafka, database
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            admin = AdminClient(kafka.librdkafka())  # kept while it works: without it the answers are lost
            for future in admin.delete_topics(topics).values():
                future.result(timeout=30)
