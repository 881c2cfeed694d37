"""How long after a fault work flows again, measured from the fault by sending something through what was hit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.torture import archived
from infra.torture.ledger import Id
from infra.torture.people import told_by_pagerduty
from infra.torture.pulse import Pulse
from infra.torture.reading import Reader
from infra.torture.sender import Sender
from infra.torture.tenants import Tenant
from infra.torture.waiting import LIMIT_S, NoRecovery, until
from infra.torture.world import World

CLOSE_AFTER_MS = 1_000
ARCHIVE_AFTER_MS = 4_000
ACTIONS = {
    "com.incidents.acknowledged.v1": "acknowledge",
    "com.incidents.note_added.v1": "note",
    "com.incidents.resolved.v1": "resolve",
}


@dataclass(slots=True)
class Probes:
    """Signs of life of each part; one `Probes` a run. ``incidents``: one of PagerDuty for each tenant."""

    world: World
    sender: Sender
    reader: Reader
    limit_s: float = LIMIT_S
    incidents: dict[str, str] = field(default_factory=dict)
    _count: int = 0
    _fake: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=10))
    _pulse: Pulse = field(init=False)

    def __post_init__(self) -> None:
        """The pulse goes through every tenant."""
        self._pulse = Pulse(self._signal, self.reader.missing)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Prepare, and beat until the block ends."""
        await self._prepare()
        beating = asyncio.create_task(self._pulse.run())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self._fake.aclose()

    async def _prepare(self) -> None:
        """Configure the tenants and open the incidents whose notes go to PagerDuty."""
        for tenant in self.world.tenants:
            actions = {"connector": "pagerduty", "integration_id": tenant.pagerduty.integration_id, "actions": ACTIONS}
            await self._must(tenant, "PUT", "/api/v1/subscriptions/torture", actions)
            preferences = {"close_after_ms": CLOSE_AFTER_MS, "archive_after_ms": ARCHIVE_AFTER_MS}
            await self._must(tenant, "PUT", "/api/v1/preferences", preferences)
        for tenant in self.world.tenants:
            self.incidents[tenant.name] = await told_by_pagerduty(
                self.sender, self.reader, tenant, f"P{tenant.name.upper()}", self.limit_s
            )

    async def flow(self) -> None:
        """A signal of every tenant is accepted, decided, projected and shown; raises ``NoRecovery``."""
        try:
            async with asyncio.timeout(self.limit_s):
                await self._pulse.beat()
        except TimeoutError as error:
            raise NoRecovery(f"no signal came through within {self.limit_s:.0f} s") from error

    async def effect(self) -> None:
        """A person's note arrives at PagerDuty."""
        self._count += 1
        tenant = self.world.tenants[self._count % len(self.world.tenants)]
        text = f"probe of the outbox {self.sender.seed}-{self._count}"
        path = f"/api/v1/incidents/{self.incidents[tenant.name]}/notes"
        await self.sender.command(
            self.reader.client, tenant, "POST", path, {"text": text}, f"outbox-probe-{self._count}"
        )
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

    async def archived(self) -> None:
        """Everything acknowledged until now is in the archive."""
        now = archived.now_ms()

        async def holds_all() -> bool:
            return await asyncio.to_thread(archived.complete_until, self.world.archive) >= now

        await until(holds_all, self.limit_s)

    async def ready(self, kind: str) -> None:
        """Each process of a kind answers that it is ready."""
        children = self.world.children

        async def are_ready() -> bool:
            urls = [f"http://127.0.0.1:{children.port(name)}" for name in children.names(kind)]
            found = await asyncio.gather(*map(self.reader.health, urls))
            return all(status == httpx.codes.OK for status, _ in found)

        await until(are_ready, self.limit_s)

    async def _must(
        self, tenant: Tenant, method: str, path: str, body: dict[str, Any], key: str = ""
    ) -> dict[str, Any]:
        key = key or f"setup-{tenant.name}-{path}"
        answer = await self.sender.command(self.reader.client, tenant, method, path, body, key)
        if answer is None:
            raise NoRecovery(f"{method} {path} was refused")
        return answer

    async def _incident_of(self, tenant: Tenant, made: dict[str, Any]) -> str:
        """The incident of an answer; where it was 202, what the operation says once it is decided."""
        found: dict[str, Any] = dict(made)

        async def is_known() -> bool:
            if not (found.get("id") or found.get("incident_id")):
                found.update(await self.reader.get(tenant, found["operation"]))
            return bool(found.get("id") or found.get("incident_id"))

        await until(is_known, self.limit_s)
        return str(found.get("id") or found["incident_id"])

    async def _signal(self) -> list[Id]:
        return await asyncio.gather(*(self.sender.probe(self.reader.client, tenant) for tenant in self.world.tenants))

    async def _is_at_the_provider(self, text: str) -> bool:
        try:
            answer = await self._fake.get(f"{self.world.fake_url}/_effects", params={"note": text})
        except httpx.TransportError:  # it closes connections that nobody used for a while
            return False
        return bool(answer.json()["notes"])

    async def _is_closed(self, tenant: Tenant, path: str) -> bool:
        return (await self.reader.get(tenant, path)).get("status") == "closed"
