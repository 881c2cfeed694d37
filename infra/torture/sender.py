"""Sends the load as providers and people do, again and again until it gets a 2xx, and keeps the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from confluent_kafka import Producer

from infra.torture.ledger import CommandSent, Id, Ledger
from infra.torture.load import Delivery, Load, cloud_event
from infra.torture.tenants import Tenant
from infra.torture.world import World
from streams.codec import cloudevents
from streams.domain.catalogue import SIGNAL
from streams.domain.envelope import Envelope
from streams.domain.signals import Signal

SENDERS = 12
PATIENCE_S = 900.0
"""How long one delivery is tried; PagerDuty tries for 48 h."""

PAUSE_S = 0.2
REQUEST_S = 15.0
RAW_LIMIT, RAW_WINDOW_S = 15, 660.0
"""Undecodable records of one tenant within ten minutes: well below what parks it."""

_UNAVAILABLE = 503
_SERVER_ERROR = 500
_FINAL_FOR_COMMANDS = frozenset({404, 409, 412, 422})


@dataclass(slots=True)
class Sender:
    """Everything that writes to the world under test. ``rate`` is deliveries and ``acts`` commands a second."""

    world: World
    ledger: Ledger
    seed: int
    rate: float = 10.0
    acts: float = 1.0
    incidents: dict[str, list[str]] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _raw_sent: dict[str, list[float]] = field(default_factory=dict)
    _probes: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        """Send until the block ends; what was begun is then finished."""
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=self.world.base_url, timeout=REQUEST_S, limits=limits) as client:
            queue: asyncio.Queue[Delivery] = asyncio.Queue(SENDERS)
            senders = [asyncio.create_task(self._send_from(client, queue)) for _ in range(SENDERS)]
            sources = [asyncio.create_task(self._feed(queue)), asyncio.create_task(self._people(client))]
            try:
                yield client
            finally:
                self._stopping.set()
                await asyncio.gather(*sources)
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
            except httpx.TransportError:
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
        load = Load(self.world.tenants, self.seed)
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

    async def _people(self, client: httpx.AsyncClient) -> None:
        """What people do, one after the other: they acknowledge, note, assign, declare and bring to an end."""
        rng = random.Random(f"people-{self.seed}")  # noqa: S311  as above
        number = 0
        while not self._stopping.is_set():
            number += 1
            tenant = rng.choice(self.world.tenants)
            await self._act(client, tenant, rng, f"act-{self.seed}-{number}")
            if rng.random() < 0.2:  # noqa: PLR2004  one in five
                await asyncio.to_thread(self._put_undecodable, tenant, rng, number)
            await self._pause(1 / self.acts)

    async def _act(self, client: httpx.AsyncClient, tenant: Tenant, rng: random.Random, key: str) -> None:
        kind = rng.choice(("acknowledge", "note", "note", "assign", "severity", "declare"))
        if kind == "declare":
            made = await self.command(client, tenant, "POST", "/api/v1/incidents", {"title": f"Declared {key}"}, key)
            if made and made.get("incident_id", made.get("id")):
                path = f"/api/v1/incidents/{made.get('id') or made['incident_id']}/state"
                await self.command(client, tenant, "POST", path, {"to": "resolved", "reason": "over"}, f"{key}-end")
            return
        incident = await self._an_incident(client, tenant, rng)
        if incident is None:
            return
        path, body = {
            "acknowledge": ("acknowledge", {}),
            "note": ("notes", {"text": f"note {key}"}),
            "assign": ("assign", {"assignee": rng.choice(("ada", "grace", "linus"))}),
            "severity": ("severity", {"severity": rng.choice(("SEV-1", "SEV-2", "SEV-3"))}),
        }[kind]
        await self.command(client, tenant, "POST", f"/api/v1/incidents/{incident}/{path}", body, key)

    async def _an_incident(self, client: httpx.AsyncClient, tenant: Tenant, rng: random.Random) -> str | None:
        headers = {"Authorization": f"Bearer {tenant.viewer_token}"}
        try:
            answer = await client.get("/api/v1/incidents", params={"limit": 10, "status": "open"}, headers=headers)
        except httpx.TransportError:
            return None
        if not answer.is_success:
            return None
        found = [item["id"] for item in answer.json()["items"] if item["service"] != "probe"]
        return rng.choice(found) if found else None

    def _put_undecodable(self, tenant: Tenant, rng: random.Random, number: int) -> None:
        """Put a record on the intake that no decider can read: the third kind has another tenant than its key."""
        recent = [at for at in self._raw_sent.get(tenant.name, []) if time.monotonic() - at < RAW_WINDOW_S]
        if len(recent) >= RAW_LIMIT:
            return
        self._raw_sent[tenant.name] = [*recent, time.monotonic()]
        identity = Id(tenant.name, "/torture/raw", f"raw-{self.seed}-{number}")
        envelope = Envelope(identity.id, identity.source, SIGNAL, tenant.name)
        value, headers = cloudevents.encode(envelope, Signal("undecodable"))
        match rng.randrange(3):
            case 0:
                value = value[:-3]
            case 1:
                headers = [pair for pair in headers if pair[0] != "ce_type"]
            case _:
                headers = [(name, b"somebody-else" if name == "ce_tenantid" else text) for name, text in headers]
        config = {**self.world.kafka.librdkafka(), "acks": "all", "partitioner": "murmur2_random", "log_level": 0}
        producer = Producer({**config, "enable.idempotence": True, "delivery.timeout.ms": 120_000})

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                self.ledger.raw[message.partition(), message.offset()] = identity

        topic = self.world.kafka.topic("incident-intake")
        producer.produce(topic, value, tenant.name.encode(), on_delivery=delivered, headers=headers)
        producer.flush()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
