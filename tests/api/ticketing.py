"""A ServiceNow fake and a dispatcher on a thread of their own, next to the running API."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from connectors.kit import integrations
from connectors.kit.directory import IntegrationDirectory
from connectors.kit.dispatcher import Dispatcher, DispatcherSettings
from connectors.kit.http import ProviderHttp
from connectors.kit.secrets import SecretBox
from connectors.registry import CONNECTORS
from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.store import Store
from streams.runtime.producer import AcknowledgedProducer
from tests.api.conftest import DEADLINE_S, Running, wait_until
from tests.harness.serving import serving

PASSWORD = "the-password"


@dataclass(frozen=True)
class ServiceNow:
    """The fake: edited as a person does on its page, and failed on purpose."""

    url: str

    def tickets(self) -> dict[str, dict[str, str]]:
        """Every record by ``sys_id``, as it is now."""
        found: dict[str, dict[str, str]] = self._effects()["tickets"]
        return found

    def writes(self) -> int:
        """How many calls have written."""
        return int(self._effects()["writes"])

    def edit(self, sys_id: str, **values: str) -> None:
        """Change a record by hand."""
        assert httpx.post(f"{self.url}/_page/{sys_id}", data=values).status_code == httpx.codes.SEE_OTHER

    def fail(self, **fault: Any) -> None:
        """Have the next calls fail."""
        assert httpx.post(f"{self.url}/_faults", json=fault).is_success

    def _effects(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/_effects").json()
        return found


@contextmanager
def ticketing(running: Running) -> Iterator[ServiceNow]:
    """The fake, with a dispatcher that carries out what is planned."""
    found: list[ServiceNow] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(running, found, stop),), daemon=True)
    thread.start()
    try:
        wait_until(lambda: bool(found) or not thread.is_alive(), "the fake and the dispatcher run")
        assert thread.is_alive(), "the dispatcher did not start"
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the dispatcher did not stop"
        loop.close()


async def _serve(running: Running, found: list[ServiceNow], stop: asyncio.Event) -> None:
    backends = running.backends
    producer = AcknowledgedProducer(backends.kafka, "test-tickets")
    directory = IntegrationDirectory(backends.database, SecretBox(backends.connectors), role="projector")
    http = ProviderHttp(allow_loopback=True, timeout_s=5.0)
    topic = backends.kafka.topic("incident-intake")
    settings = DispatcherSettings(poll_s=0.2, max_attempts=3)
    dispatcher = Dispatcher(settings, backends.database, producer, directory, http, CONNECTORS, topic)
    await directory.start()
    task = asyncio.create_task(dispatcher.run())
    try:
        async with serving(FakeServiceNow(Store(), "incidents", PASSWORD).app()) as served:
            found.append(ServiceNow(served.url))
            await asyncio.wait([task, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
            dispatcher.stop()
            await task
    finally:
        await directory.close()
        await http.close()
        producer.close(1.0)


def add_integration(running: Running, servicenow: ServiceNow, tenant: str) -> str:
    """An integration of the tenant with the fake; its id."""
    config = {"base_url": servicenow.url, "username": "incidents"}
    with psycopg.connect(running.database_url, autocommit=True, row_factory=dict_row) as rows:
        added = integrations.add(
            rows,
            SecretBox(running.backends.connectors),
            CONNECTORS["servicenow"],
            tenant,
            config=config,
            webhook_secret=secrets.token_urlsafe(24),
            api_token=PASSWORD,
        )
    return added.integration_id
