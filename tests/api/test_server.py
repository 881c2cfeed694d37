"""The API's process: told to stop, it ends in order with status 0."""

from __future__ import annotations

import base64
import secrets
import signal
from pathlib import Path

import httpx
import pytest

from streams.runtime.settings import KafkaSettings
from tests.api.conftest import free_port, wait_until
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
