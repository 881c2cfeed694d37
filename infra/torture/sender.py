"""Sends deliveries and commands again and again until they get a 2xx, as providers do, and keeps the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from infra.torture.ledger import CommandSent, Id, Ledger
from infra.torture.load import REPEATED, Delivery, Load, cloud_event
from infra.torture.tenants import Tenant
from infra.torture.world import World

SENDERS = 12
PATIENCE_S = 900.0
"""How long one delivery is tried; PagerDuty tries for 48 h."""

PAUSE_S = 0.5
REQUEST_S = 15.0
_UNAVAILABLE = 503
_SERVER_ERROR = 500
_FINAL_FOR_COMMANDS = frozenset({404, 409, 412, 422})


@dataclass(slots=True)
class Sender:
    """Everything that is sent to the world under test: ``rate`` a second, a share ``repeated`` of them again."""

    world: World
    ledger: Ledger
    seed: int
    rate: float = 10.0
    repeated: float = REPEATED
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _probes: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        """Send until the block ends; what was begun is then finished."""
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=self.world.base_url, timeout=REQUEST_S, limits=limits) as client:
            queue: asyncio.Queue[Delivery] = asyncio.Queue(SENDERS)
            senders = [asyncio.create_task(self._send_from(client, queue)) for _ in range(SENDERS)]
            feeding = asyncio.create_task(self._feed(queue))
            try:
                yield client
            finally:
                self._stopping.set()
                await feeding
                await queue.join()
                for sender in senders:
                    sender.cancel()
                await asyncio.gather(*senders, return_exceptions=True)

    async def deliver(self, client: httpx.AsyncClient, delivery: Delivery, patience_s: float = PATIENCE_S) -> bool:
        """Send one delivery until it gets a 2xx; whether it did."""
        answer = await self._until_taken(client, "POST", delivery.path, delivery.body, delivery.headers, patience_s)
        if answer is None:
            return False
        ids = answer.json()["ids"]
        for id_, (expected, alert) in zip(ids, delivery.expects, strict=True):
            self.ledger.accept(Id(delivery.tenant, delivery.source, id_), expected, alert)
        return True

    async def probe(self, client: httpx.AsyncClient, tenant: Tenant) -> Id:
        """Send one signal that only asks for a sign of life; its id, once it got a 2xx."""
        self._probes += 1
        fingerprint = f"probe-{self.seed}-{self._probes}"
        event = cloud_event("probe", fingerprint, time.time_ns() // 1_000_000, firing=True)
        headers = {
            "Content-Type": "application/cloudevents+json",
            "Authorization": f"Bearer {tenant.admin_token}",
        }
        delivery = Delivery(
            tenant.name, "/api/v1/events", orjson.dumps(event), headers, "/torture/probe", (("signal", None),)
        )
        if not await self.deliver(client, delivery):
            raise TimeoutError(f"no 2xx for a probe within {PATIENCE_S:.0f} s")
        return Id(tenant.name, "/torture/probe", str(event["id"]))

    async def command(
        self, client: httpx.AsyncClient, tenant: Tenant, method: str, path: str, body: dict[str, Any], key: str
    ) -> dict[str, Any] | None:
        """Carry out a person's command with an Idempotency-Key; its answer, none where it was refused for good."""
        headers = {
            "Authorization": f"Bearer {tenant.admin_token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        text = str(body.get("text") or "")
        if text:
            self.ledger.attempted_texts.add(text)
        answer = await self._until_taken(client, method, path, orjson.dumps(body), headers, PATIENCE_S)
        if answer is None:
            return None
        document: dict[str, Any] = answer.json()
        self.ledger.commands[key] = CommandSent(tenant.name, document["command_id"], text)
        return document

    async def _until_taken(
        self, client: httpx.AsyncClient, method: str, path: str, body: bytes, headers: dict[str, str], patience_s: float
    ) -> httpx.Response | None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                answer = await client.request(method, path, content=body, headers=headers)
            except httpx.TransportError as error:
                self.ledger.unanswered[type(error).__name__] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            self.ledger.answers[answer.status_code] += 1
            if answer.is_success:
                return answer
            if answer.status_code != _UNAVAILABLE:
                is_command = "idempotency-key" in {name.lower() for name in headers}
                if not (is_command and answer.status_code in _FINAL_FOR_COMMANDS):
                    self.ledger.refused.append(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
                if answer.status_code < _SERVER_ERROR:
                    return None
            elif "retry-after" not in answer.headers:
                self.ledger.refused.append(f"{method} {path}: 503 without Retry-After")
            await asyncio.sleep(PAUSE_S)
        self.ledger.given_up += 1
        return None

    async def _feed(self, queue: asyncio.Queue[Delivery]) -> None:
        load = Load(self.world.tenants, self.seed, self.repeated)
        while not self._stopping.is_set():
            await queue.put(load.next())
            await self._pause(1 / self.rate)

    async def _send_from(self, client: httpx.AsyncClient, queue: asyncio.Queue[Delivery]) -> None:
        while True:
            delivery = await queue.get()
            try:
                await self.deliver(client, delivery)
            finally:
                queue.task_done()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
