"""A whole running API for a test module: worker, projector and a real uvicorn server on real Kafka and PostgreSQL."""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api import tokens
from api.app import Backends, create_app
from api.server import server
from api.settings import ApiSettings
from connectors.kit.secrets import ConnectorSettings
from policy.decision import Decide, Role, decide
from projections.runner import Projector
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from streams.runtime.topics import provision

TENANT = "acme"
DEADLINE_S = 30.0


def wait_until(is_so: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Return once the condition holds; fail when it does not in time."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """Where the API answers and how to get a token."""

    url: str
    database_url: str
    backends: Backends

    def token(self, role: Role = "admin", tenant: str = TENANT, name: str = "test") -> str:
        """A new token, written as the command line would."""
        token_id, text = tokens.generate()
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO ops.api_tokens (token_id, tenant_id, name, role, token_hash, created_at)"
                " VALUES (%s, %s, %s, %s, %s, now())",
                [token_id, tenant, name, role, tokens.digest(text)],
            )
        return text

    def client(self, role: Role = "admin", tenant: str = TENANT) -> httpx.Client:
        """An HTTP client with a new token."""
        headers = {"Authorization": f"Bearer {self.token(role, tenant)}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)


@contextmanager
def serving(settings: ApiSettings, backends: Backends, decision_point: Decide = decide) -> Iterator[str]:
    """A real server on a thread of its own; its address."""
    serving_ = server(create_app(settings, backends, decision_point=decision_point), settings)
    thread = threading.Thread(target=serving_.run, name="api", daemon=True)
    thread.start()
    wait_until(lambda: serving_.started or not thread.is_alive(), "the API started")
    assert thread.is_alive(), "the API did not start"
    try:
        yield f"http://127.0.0.1:{settings.port}"
    finally:
        serving_.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the API did not stop"


def is_ready(port: int) -> bool:
    """Whether the process with this health port says that it is ready."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def working(kafka: KafkaSettings, database_url: str) -> Iterator[None]:
    """The orchestrator, in a process of its own that has taken its partitions."""
    port = free_port()
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "DATABASE_URL": database_url,
        "INCIDENTS_METRICS_PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "worker"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stderr is not None
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    try:
        wait_until(lambda: is_ready(port), "the worker has its partitions", 60)
        yield
    finally:
        process.terminate()
        process.wait(20)
        drain.join(5)
        process.stderr.close()


@contextmanager
def projecting(kafka: KafkaSettings, database: DatabaseSettings) -> Iterator[None]:
    """The projector, on a thread of its own."""
    stop = threading.Event()
    projector = Projector(kafka, database, stop)
    thread = threading.Thread(target=projector.run, name="projector", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)


@pytest.fixture(scope="module")
def backends(kafka_settings: KafkaSettings, database_url: str, object_storage: ObjectStorageSettings) -> Backends:
    """The servers of this module, with its topics made."""
    provision(kafka_settings, partitions=2)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return Backends(
        kafka_settings,
        DatabaseSettings(url=SecretStr(database_url)),
        object_storage,
        ConnectorSettings(secret_key=SecretStr(key)),
    )


@pytest.fixture(scope="module")
def pipeline(backends: Backends, database_url: str) -> Iterator[Backends]:
    """The servers, with orchestrator and projector at work."""
    with working(backends.kafka, database_url), projecting(backends.kafka, backends.database):
        yield backends


@pytest.fixture(scope="module")
def running(pipeline: Backends, database_url: str) -> Iterator[Running]:
    """The API, ready, with everything behind it."""
    settings = ApiSettings(port=free_port(), heartbeat_s=0.5, max_body_bytes=100_000, outcome_timeout_s=20)
    with serving(settings, pipeline) as url:
        wait_until(lambda: httpx.get(f"{url}/health/ready").status_code == httpx.codes.OK, "the API is ready")
        yield Running(url, database_url, pipeline)
