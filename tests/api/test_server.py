"""The API's process: told to stop, it ends in order with status 0."""

from __future__ import annotations

import asyncio
import base64
import secrets
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import orjson
import pytest

from api.app import Backends, create_app
from api.server import server
from api.settings import ApiSettings
from streams.domain.catalogue import SIGNAL
from streams.domain.outputs import CommandAccepted
from streams.runtime.settings import KafkaSettings
from tests.api.conftest import Running, free_port, wait_until
from tests.harness.workers import environment, process

pytestmark = pytest.mark.stack
KEY = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0(
    kafka_settings: KafkaSettings, database_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    env = environment(kafka_settings, DATABASE_URL=database_url, INCIDENTS_API_PORT=str(port), INCIDENTS_SECRET_KEY=KEY)
    log = tmp_path / "api.log"

    def lives() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/live").is_success
        except httpx.TransportError:
            return False

    with process(["api"], env, log) as api:
        wait_until(lives, "the API answers")
        api.send_signal(number)
        assert api.wait(30) == 0, log.read_text()


def test_a_request_that_waits_for_kafka_when_it_is_told_to_stop_is_answered_503(
    backends: Backends, database_url: str
) -> None:
    """The broker takes connections and says nothing, so that the request waits for longer than the stop may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        kafka = backends.kafka.model_copy(update={"bootstrap_servers": f"127.0.0.1:{silent.getsockname()[1]}"})
        settings = ApiSettings(port=free_port(), graceful_stop_s=2)
        app = create_app(settings, replace(backends, kafka=kafka))
        api = server(app, settings)
        stopped = pool.submit(api.run)
        wait_until(lambda: api.started, "the API answers")
        producer = app.state.api.producer
        producer._away_since = None  # as if the broker had been there until now
        with Running(f"http://127.0.0.1:{settings.port}", database_url, backends).client() as client:
            event = {"specversion": "1.0", "id": "1", "source": "/test", "type": SIGNAL, "data": {"title": "Slow"}}
            headers = {"Content-Type": "application/cloudevents+json"}
            answer = pool.submit(client.post, "/api/v1/events", content=orjson.dumps(event), headers=headers)
            wait_until(lambda: bool(producer._awaited) or answer.done(), "the request waits for Kafka")
            assert producer._awaited, "it was answered before it could wait"
            api.should_exit = True
            response = answer.result(30)
        stopped.result(60)
    assert response.status_code == 503, response.text
    assert "retry-after" in response.headers


@pytest.mark.parametrize("decided", [False, True])
def test_a_command_that_waits_when_it_is_told_to_stop_is_answered_202(
    backends: Backends, database_url: str, *, decided: bool
) -> None:
    """For its outcome, or, once it is decided, for reads to show it."""
    settings = ApiSettings(port=free_port(), graceful_stop_s=2, outcome_timeout_s=60)
    app = create_app(settings, backends)
    api = server(app, settings)
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(api.run)
        wait_until(lambda: api.started, "the API answers")
        live = app.state.api.live
        # Nobody tells what becomes of commands, whether or not somebody decides them.
        asyncio.run_coroutine_threadsafe(live.results.stop(), live._task.get_loop()).result(10)
        with Running(f"http://127.0.0.1:{settings.port}", database_url, backends).client() as client:
            answer = pool.submit(client.post, "/api/v1/incidents", json={"title": "Slow"})
            wait_until(lambda: bool(live.outcomes._sent) or answer.done(), "the command is in Kafka")
            assert not answer.done(), answer.result().text
            if decided:
                ((tenant, command_id),) = live.outcomes._sent
                outcome = CommandAccepted(command_id, tenantsequence=1_000_000)  # which reads never come to
                live._task.get_loop().call_soon_threadsafe(live.outcomes.deliver, tenant, outcome)
                wait_until(lambda: bool(live.fanout._waiting) or answer.done(), "it waits for reads")
                assert not answer.done(), answer.result().text
            api.should_exit = True
            response = answer.result(30)
        stopped.result(60)
    status = "accepted" if decided else "pending"
    assert (response.status_code, response.json()["status"]) == (202, status), response.text
    assert response.headers["location"] == f"/api/v1/operations/{response.json()['command_id']}"


def test_a_request_that_is_cancelled_by_the_stop_is_answered_503(backends: Backends) -> None:
    settings = ApiSettings(port=free_port(), graceful_stop_s=1)
    app = create_app(settings, backends)
    begun = threading.Event()

    @app.get("/slow")
    async def slow() -> None:
        begun.set()
        await asyncio.sleep(60)

    api = server(app, settings)
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(api.run)
        wait_until(lambda: api.started, "the API answers")
        answer = pool.submit(httpx.get, f"http://127.0.0.1:{settings.port}/slow", timeout=30)
        assert begun.wait(10)
        api.should_exit = True
        response = answer.result(30)
        stopped.result(60)
    assert (response.status_code, response.json()["code"]) == (503, "stopping"), response.text
    assert response.headers["retry-after"] == "1"
