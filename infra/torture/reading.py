"""What the harness reads from the API under test, as a viewer of a tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from infra.torture.ledger import Id
from infra.torture.tenants import Tenant

LOOK_S = 3.0
"""For one look: an API that is frozen is asked again."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Asks once each time; an API that does not answer is no error here but nothing found."""

    client: httpx.AsyncClient
    tenants: Sequence[Tenant]

    async def get(self, tenant: Tenant, path: str, body: bytes = b"") -> dict[str, Any]:
        """A read (by POST where it has a body); empty while the API does not answer it."""
        headers = {"Authorization": f"Bearer {tenant.viewer_token}", "Content-Type": "application/json"}
        try:
            answer = await self.client.request(
                "POST" if body else "GET", path, content=body, headers=headers, timeout=LOOK_S
            )
        except httpx.TransportError:
            return {}
        return dict(answer.json()) if answer.is_success else {}

    async def health(self, url: str = "") -> tuple[int, dict[str, str]]:
        """What readiness says, of the API or of the process at ``url``: status (0: no answer) and checks."""
        try:
            answer = await self.client.get(f"{url}/health/ready", timeout=LOOK_S)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, dict(answer.json()["checks"])

    async def look_up(self, tenant: Tenant, ids: Sequence[Id]) -> dict[str, Any]:
        """What is shown of signals of one tenant: ``items`` and ``missing``."""
        items = [{"source": identity.source, "id": identity.id} for identity in ids]
        return await self.get(tenant, "/api/v1/alerts/lookup", orjson.dumps({"items": items}))

    async def missing(self, ids: Sequence[Id]) -> list[Id]:
        """Those that the API does not show; all of them while it does not answer."""
        found = await asyncio.gather(
            *(
                self._missing_of(tenant, wanted)
                for tenant in self.tenants
                if (wanted := [identity for identity in ids if identity.tenant == tenant.name])
            )
        )
        return [identity for part in found for identity in part]

    async def _missing_of(self, tenant: Tenant, ids: Sequence[Id]) -> list[Id]:
        document = await self.look_up(tenant, ids)
        if "missing" not in document:
            return list(ids)
        return [Id(tenant.name, one["source"], one["id"]) for one in document["missing"]]
