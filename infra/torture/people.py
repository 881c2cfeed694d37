"""What people do meanwhile: they acknowledge, note, assign, declare, resolve; and records that nobody can read."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer

from infra.fakes.pagerduty import deliveries as pagerduty
from infra.torture.ledger import Alert, Expected, Id
from infra.torture.load import Delivery
from infra.torture.reading import Reader
from infra.torture.sender import Sender
from infra.torture.tenants import Tenant
from infra.torture.waiting import NoRecovery, until
from streams.codec import cloudevents
from streams.domain.catalogue import SIGNAL
from streams.domain.envelope import Envelope, rfc3339
from streams.domain.signals import Signal

ACTS = ("acknowledge", "note", "note", "assign", "severity", "declare", "resolve")
UNDECODABLE = 0.2
RAW_LIMIT, RAW_WINDOW_S = 15, 660.0
"""Undecodable records of one tenant within ten minutes: well below what parks it."""


async def told_by_pagerduty(sender: Sender, reader: Reader, tenant: Tenant, external_id: str, limit_s: float) -> str:
    """Let PagerDuty tell of an incident that nothing else belongs to; the id of what became of it.

    Raises ``NoRecovery`` when it is not shown in time.
    """
    at = rfc3339(time.time_ns() // 1_000_000)
    endpoint = tenant.pagerduty
    incident = pagerduty.PagerDutyIncident(external_id, f"{external_id} fails", external_id.lower(), at)
    body, headers = pagerduty.webhook(
        "incident.triggered", incident, event_id=f"01{external_id}", occurred_at=at, secrets=[endpoint.secret]
    )
    told: tuple[Expected, Alert] = ("signal", Alert(external_id, external_id, firing=True))
    await sender.deliver(reader.client, Delivery(tenant.name, endpoint.path, body, headers, endpoint.source, (told,)))
    identity = Id(tenant.name, endpoint.source, f"01{external_id}")

    found: list[str] = []

    async def is_shown() -> bool:
        document = await reader.look_up(tenant, [identity])
        found.extend(str(item["incident_id"]) for item in document.get("items", []))
        return bool(found)

    await until(is_shown, limit_s)
    return found[0]


@dataclass(slots=True)
class People:
    """One person after the other, ``acts`` a second."""

    sender: Sender
    reader: Reader
    acts: float = 1.0
    limit_s: float = 60.0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _raw_sent: dict[str, list[float]] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Act until the block ends; what was begun is then finished."""
        task = asyncio.create_task(self._act_on())
        try:
            yield
        finally:
            self._stopping.set()
            await task

    async def _act_on(self) -> None:
        rng = random.Random(f"people-{self.sender.seed}")  # noqa: S311  a load that can be repeated
        number = 0
        while not self._stopping.is_set():
            number += 1
            tenant = rng.choice(self.reader.tenants)
            await self._act(tenant, rng, number)
            if rng.random() < UNDECODABLE:
                await asyncio.to_thread(self._put_undecodable, tenant, rng, number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1 / self.acts)

    async def _act(self, tenant: Tenant, rng: random.Random, number: int) -> None:
        key = f"act-{self.sender.seed}-{number}"
        kind = rng.choice(ACTS)
        match kind:
            case "declare":
                made = await self._command(tenant, "/api/v1/incidents", {"title": f"Declared {key}"}, key)
                incident = made and (made.get("id") or made.get("incident_id"))
                if incident:
                    await self._resolve(tenant, str(incident), f"{key}-end")
            case "resolve":
                with contextlib.suppress(NoRecovery):  # it is only not resolved then
                    external_id = f"PSOLVED{self.sender.seed}X{number}"
                    incident = await told_by_pagerduty(self.sender, self.reader, tenant, external_id, self.limit_s)
                    await self._resolve(tenant, incident, key)
            case _:
                incident = await self._an_incident(tenant, rng)
                if incident is not None:
                    path, body = _change(kind, key, rng)
                    await self._command(tenant, f"/api/v1/incidents/{incident}/{path}", body, key)

    async def _resolve(self, tenant: Tenant, incident: str, key: str) -> None:
        await self._command(tenant, f"/api/v1/incidents/{incident}/state", {"to": "resolved", "reason": "over"}, key)

    async def _command(self, tenant: Tenant, path: str, body: dict[str, Any], key: str) -> dict[str, Any] | None:
        return await self.sender.command(self.reader.client, tenant, "POST", path, body, key)

    async def _an_incident(self, tenant: Tenant, rng: random.Random) -> str | None:
        """One of a trouble that goes on."""
        document = await self.reader.get(tenant, "/api/v1/incidents?limit=10&status=open")
        services = ("probe", "psolved")
        found = [one["id"] for one in document.get("items", []) if not str(one["service"]).startswith(services)]
        return rng.choice(found) if found else None

    def _put_undecodable(self, tenant: Tenant, rng: random.Random, number: int) -> None:
        """Put a record on the intake that no decider can read: the third kind has another tenant than its key."""
        recent = [at for at in self._raw_sent.get(tenant.name, []) if time.monotonic() - at < RAW_WINDOW_S]
        if len(recent) >= RAW_LIMIT:
            return
        self._raw_sent[tenant.name] = [*recent, time.monotonic()]
        identity = Id(tenant.name, "/torture/raw", f"raw-{self.sender.seed}-{number}")
        put_undecodable(self.sender, identity, rng.randrange(3))


def _change(kind: str, key: str, rng: random.Random) -> tuple[str, dict[str, Any]]:
    """The path below an incident and the body of a person's command."""
    match kind:
        case "acknowledge":
            return "acknowledge", {}
        case "note":
            return "notes", {"text": f"note {key}"}
        case "assign":
            return "assign", {"assignee": rng.choice(("ada", "grace", "linus"))}
        case _:
            return "severity", {"severity": rng.choice(("SEV-1", "SEV-2", "SEV-3"))}


def put_undecodable(sender: Sender, identity: Id, kind: int) -> None:
    """A record past the API: cut off (0), without its type (1), or with another tenant than its key (2)."""
    envelope = Envelope(identity.id, identity.source, SIGNAL, identity.tenant)
    value, headers = cloudevents.encode(envelope, Signal("undecodable"))
    match kind:
        case 0:
            value = value[:-3]
        case 1:
            headers = [pair for pair in headers if pair[0] != "ce_type"]
        case _:
            headers = [(name, b"somebody-else" if name == "ce_tenantid" else text) for name, text in headers]
    kafka = sender.world.kafka
    config = {**kafka.librdkafka(), "acks": "all", "partitioner": "murmur2_random", "log_level": 0}
    producer = Producer({**config, "enable.idempotence": True, "delivery.timeout.ms": 120_000})

    def delivered(error: Any, message: Any) -> None:
        if error is None:
            sender.ledger.raw[message.partition(), message.offset()] = identity

    producer.produce(
        kafka.topic("incident-intake"), value, identity.tenant.encode(), on_delivery=delivered, headers=headers
    )
    producer.flush()
