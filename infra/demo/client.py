"""What the demo asks of the API, as any client would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx

LOOKUP = 500


class ApiClient:
    """The REST API with one token."""

    def __init__(self, base_url: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=30, follow_redirects=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def incidents(self) -> list[dict[str, Any]]:
        """Every incident of the tenant, oldest first."""
        return await self._pages("/api/v1/incidents", {"limit": 500, "sort": "oldest", "include_merged": "true"})

    async def timeline(self, incident_id: str) -> list[dict[str, Any]]:
        """Every event of an incident."""
        return await self._pages(f"/api/v1/incidents/{incident_id}/timeline", {"limit": 500})

    async def declare(self, body: dict[str, Any]) -> dict[str, Any]:
        """Open an incident by hand; its id and number."""
        return await self._write("POST", "/api/v1/incidents", body)

    async def edit(self, incident_id: str, fields: dict[str, str]) -> dict[str, Any]:
        """Edit fields of an incident."""
        return await self._write("PATCH", f"/api/v1/incidents/{incident_id}", fields)

    async def incident(self, incident_id: str) -> dict[str, Any]:
        """One incident as it is now."""
        answer = await self._client.get(f"/api/v1/incidents/{incident_id}")
        answer.raise_for_status()
        return dict(answer.json())

    async def act(self, incident_id: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
        """Carry out a person's action and wait for its outcome."""
        return await self._write("POST", f"/api/v1/incidents/{incident_id}/{action}", body)

    async def subscribe(self, subscription_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Set a subscription."""
        return await self._write("PUT", f"/api/v1/subscriptions/{subscription_id}", body)

    async def missing(self, ids: Sequence[tuple[str, str]], seconds: float) -> tuple[int, dict[str, int]]:
        """How many of the ids have no disposition after at most ``seconds``, and the dispositions of the others."""
        deadline = time.monotonic() + seconds
        while True:
            lost, found = await self._look_up(ids)
            if not lost or time.monotonic() > deadline:
                return lost, found
            await asyncio.sleep(0.25)

    async def _look_up(self, ids: Sequence[tuple[str, str]]) -> tuple[int, dict[str, int]]:
        lost, found = 0, dict[str, int]()
        for start in range(0, len(ids), LOOKUP):
            part = [{"source": source, "id": id_} for source, id_ in ids[start : start + LOOKUP]]
            answer = await self._write("POST", "/api/v1/alerts/lookup", {"items": part})
            lost += len(answer["missing"])
            for item in answer["items"]:
                found[item["disposition"]] = found.get(item["disposition"], 0) + 1
        return lost, found

    async def _write(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._client.request(method, path, json=body)
        answer.raise_for_status()
        return dict(answer.json())

    async def _pages(self, path: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            answer = await self._client.get(path, params=query)
            answer.raise_for_status()
            page = answer.json()
            items += page["items"]
            if not page["next"]:
                return items
            query = {**query, "after": page["next"]}
