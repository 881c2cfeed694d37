"""How long after a fault work flows again, measured from the fault by sending something through what was hit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from infra.fakes.pagerduty import deliveries as pagerduty
from infra.torture.ledger import Id
from infra.torture.load import Delivery
from infra.torture.sender import Sender
from infra.torture.tenants import Tenant
from infra.torture.world import World
from streams.domain.envelope import rfc3339

LIMIT_S = 150.0
POLL_S = 0.05
CLOSE_AFTER_MS = 1_000
ARCHIVE_AFTER_MS = 4_000
ACTIONS = {
    "com.incidents.acknowledged.v1": "acknowledge",
    "com.incidents.note_added.v1": "note",
    "com.incidents.resolved.v1": "resolve",
}

Look = Callable[[], Awaitable[bool]]


class NoRecovery(Exception):  # noqa: N818
    """Work did not flow again within ``LIMIT_S``."""


@dataclass(slots=True)
class Probes:
    """Signs of life of each part; one `Probes` a run. ``incident`` is one with a PagerDuty incident to act on."""

    world: World
    sender: Sender
    client: httpx.AsyncClient
    incident: str = ""
    limit_s: float = LIMIT_S
    _count: int = 0
    _fake: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=10))

    async def prepare(self) -> None:
        """Configure the tenants and open the incident whose notes go to PagerDuty."""
        for tenant in self.world.tenants:
            actions = {"connector": "pagerduty", "integration_id": tenant.pagerduty.integration_id, "actions": ACTIONS}
            await self._must(tenant, "PUT", "/api/v1/subscriptions/torture", actions)
            preferences = {"close_after_ms": CLOSE_AFTER_MS, "archive_after_ms": ARCHIVE_AFTER_MS}
            await self._must(tenant, "PUT", "/api/v1/preferences", preferences)
        tenant = self.world.tenants[0]
        at = rfc3339(time.time_ns() // 1_000_000)
        endpoint = tenant.pagerduty
        body, headers = pagerduty.webhook(
            "incident.triggered",
            pagerduty.PagerDutyIncident("PPROBE", "Probe of the outbox", "outbox probe", at),
            event_id="01PROBE",
            occurred_at=at,
            secrets=[endpoint.secret],
        )
        await self.sender.deliver(
            self.client, Delivery(tenant.name, endpoint.path, body, headers, endpoint.source, (("signal", None),))
        )
        identity = Id(tenant.name, endpoint.source, "01PROBE")
        await until(lambda: self._are_visible([identity]), self.limit_s)
        document = await self._look_up(tenant, [identity])
        self.incident = document["items"][0]["incident_id"]

    async def close(self) -> None:
        """Close the connections."""
        await self._fake.aclose()

    async def flow(self) -> None:
        """A signal of every tenant is accepted, decided, projected and shown."""
        ids = await asyncio.gather(*(self.sender.probe(self.client, tenant) for tenant in self.world.tenants))
        await until(lambda: self._are_visible(ids), self.limit_s)

    async def effect(self) -> None:
        """A person's note arrives at PagerDuty."""
        tenant = self.world.tenants[0]
        self._count += 1
        text = f"probe of the outbox {self.sender.seed}-{self._count}"
        path = f"/api/v1/incidents/{self.incident}/notes"
        await self.sender.command(self.client, tenant, "POST", path, {"text": text}, f"outbox-probe-{self._count}")
        await until(lambda: self._is_at_the_provider(text), self.limit_s)

    async def timer(self) -> None:
        """An incident that is resolved is closed by its timer."""
        tenant = self.world.tenants[self._count % len(self.world.tenants)]
        self._count += 1
        key = f"timer-probe-{self.sender.seed}-{self._count}"
        made = await self._must(tenant, "POST", "/api/v1/incidents", {"title": key}, key)
        path = f"/api/v1/incidents/{await self._incident_of(tenant, made)}"
        await self._must(tenant, "POST", f"{path}/state", {"to": "resolved", "reason": "probe"}, f"{key}-end")
        await until(lambda: self._is_closed(tenant, path), self.limit_s)

    async def _must(
        self, tenant: Tenant, method: str, path: str, body: dict[str, Any], key: str = ""
    ) -> dict[str, Any]:
        key = key or f"setup-{tenant.name}-{path}"
        answer = await self.sender.command(self.client, tenant, method, path, body, key)
        if answer is None:
            raise NoRecovery(f"{method} {path} was refused")
        return answer

    async def _incident_of(self, tenant: Tenant, made: dict[str, Any]) -> str:
        """The incident of an answer; where it was 202, what the operation says once it is decided."""
        found: dict[str, Any] = dict(made)

        async def is_known() -> bool:
            if not (found.get("id") or found.get("incident_id")):
                found.update(await self._get(tenant, found["operation"]))
            return bool(found.get("id") or found.get("incident_id"))

        await until(is_known, self.limit_s)
        return str(found.get("id") or found["incident_id"])

    async def _are_visible(self, ids: Sequence[Id]) -> bool:
        for tenant in self.world.tenants:
            wanted = [identity for identity in ids if identity.tenant == tenant.name]
            if wanted:
                document = await self._look_up(tenant, wanted)
                if document.get("missing") != []:
                    return False
        return True

    async def _look_up(self, tenant: Tenant, ids: Sequence[Id]) -> dict[str, Any]:
        items = [{"source": identity.source, "id": identity.id} for identity in ids]
        return await self._get(tenant, "/api/v1/alerts/lookup", orjson.dumps({"items": items}))

    async def _get(self, tenant: Tenant, path: str, body: bytes = b"") -> dict[str, Any]:
        """A read (by POST where it has a body); empty while the API does not answer it."""
        headers = {"Authorization": f"Bearer {tenant.viewer_token}", "Content-Type": "application/json"}
        try:
            answer = await self.client.request("POST" if body else "GET", path, content=body, headers=headers)
        except httpx.TransportError:
            return {}
        return dict(answer.json()) if answer.is_success else {}

    async def _is_at_the_provider(self, text: str) -> bool:
        answer = await self._fake.get(f"{self.world.fake_url}/_effects")
        notes = answer.json()["incidents"].get("PPROBE", {}).get("notes", [])
        return any(text in note["content"] for note in notes)

    async def _is_closed(self, tenant: Tenant, path: str) -> bool:
        return (await self._get(tenant, path)).get("status") == "closed"


async def until(look: Look, limit_s: float = LIMIT_S) -> None:
    """Return as soon as it is so; raises ``NoRecovery`` when it does not come to be."""
    deadline = time.monotonic() + limit_s
    while not await look():
        if time.monotonic() > deadline:
            raise NoRecovery(f"not within {limit_s:.0f} s")
        await asyncio.sleep(POLL_S)
