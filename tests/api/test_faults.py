"""What the API answers while the database or the broker is away, and that it goes on without a gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from api.app import Backends
from api.settings import ApiSettings
from infra.torture.proxy import ThreadedProxy, proxied
from streams.runtime.settings import DatabaseSettings
from tests.api.conftest import Running, free_port, serving, wait_until
from tests.api.test_streams import declare, items

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def proxy(database_url: str) -> Iterator[ThreadedProxy]:
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    with proxied(parts.hostname, parts.port or 5432) as between:
        yield between


@pytest.fixture(scope="module")
def fragile(pipeline: Backends, database_url: str, proxy: ThreadedProxy) -> Iterator[Running]:
    """An API whose way to the database can be cut; orchestrator and projector go on."""
    parts = urlsplit(database_url)
    url = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
    database = DatabaseSettings(url=SecretStr(url))
    settings = ApiSettings(port=free_port(), heartbeat_s=0.3, outcome_timeout_s=5)
    with serving(settings, replace(pipeline, database=database)) as address:
        wait_until(lambda: httpx.get(f"{address}/health/ready").status_code == 200, "the API is ready")
        yield Running(address, database_url, pipeline)


def test_without_its_database_writes_are_202_and_streams_go_on_later_without_a_gap(
    fragile: Running, proxy: ThreadedProxy
) -> None:
    with fragile.client(tenant="fragile") as client:
        declare(client, "before")
        with client.stream("GET", "/api/v1/events/stream") as response:
            stream = items(response)
            next(stream)
            proxy.cut()
            try:
                wait_until(lambda: client.get("/health/ready").status_code == 503, "it says that it is not ready")
                checks = client.get("/health/ready").json()["checks"]
                written = client.post("/api/v1/incidents", json={"title": "meanwhile"})
                read = client.get("/api/v1/incidents")
            finally:
                proxy.mend()
            assert checks["database"] != "ok"
            assert checks["kafka"] == "ok"
            assert written.status_code == 202, written.text
            assert (read.status_code, read.json()["code"]) == (503, "database-unavailable")
            assert "retry-after" in read.headers
            operation = client.get(written.headers["location"]).json()
            assert operation["status"] == "accepted"
            event = next(item for item in stream if item[2])
        assert event[2]["subject"] == operation["incident_id"]
        wait_until(lambda: client.get("/health/ready").status_code == 200, "it is ready again")
        assert client.get(f"/api/v1/incidents/{operation['incident_id']}").json()["title"] == "meanwhile"


def test_without_a_broker_writes_are_503_and_reads_go_on(fragile: Running, backends: Backends) -> None:
    nobody = backends.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{free_port()}"})
    settings = ApiSettings(port=free_port(), outcome_timeout_s=2)
    with (
        serving(settings, replace(backends, kafka=nobody)) as url,
        fragile.client(tenant="fragile") as known,
        httpx.Client(base_url=url, headers=known.headers, timeout=30) as client,
    ):
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["kafka"]) == (503, "Kafka does not answer")
        assert client.get("/api/v1/incidents").status_code == 200
        refused = client.post("/api/v1/incidents", json={"title": "nobody takes it"})
        assert (refused.status_code, refused.json()["code"]) == (503, "broker-unavailable")
        assert "retry-after" in refused.headers
