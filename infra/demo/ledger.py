"""The sender's own ledger: which ids got a 2xx, to be compared with what the REST API returns."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from infra.demo.storm import Delivery

SENDERS = 8
ATTEMPTS = 20
PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider sends its webhooks, and the CloudEvents source of what it sends."""

    url: str
    source: str


@dataclass(slots=True)
class Ledger:
    """``accepted`` counts how often each (source, id) was answered 2xx; ``refused`` the other answers by status."""

    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    deliveries: int = 0
    refused: Counter[int] = field(default_factory=Counter)

    @property
    def received(self) -> int:
        """Signals answered 2xx, repeats included."""
        return self.accepted.total()

    @property
    def duplicates(self) -> int:
        """Of these, the repeats."""
        return self.received - len(self.accepted)


async def send(
    deliveries: Sequence[Delivery], endpoints: Mapping[str, Endpoint], progress: Callable[[int], None]
) -> Ledger:
    """Send every delivery, a few at a time, again after 503 or a broken connection as providers do."""
    ledger = Ledger()
    waiting = iter(deliveries)

    async def sender(client: httpx.AsyncClient) -> None:
        for delivery in waiting:
            await _deliver(client, delivery, endpoints[delivery.connector], ledger)
            ledger.deliveries += 1
            progress(ledger.deliveries)

    async with httpx.AsyncClient(timeout=30) as client:
        await asyncio.gather(*(sender(client) for _ in range(SENDERS)))
    return ledger


async def _deliver(client: httpx.AsyncClient, delivery: Delivery, endpoint: Endpoint, ledger: Ledger) -> None:
    for _ in range(ATTEMPTS):
        try:
            answer = await client.post(endpoint.url, content=delivery.body, headers=delivery.headers)
        except httpx.TransportError:
            await asyncio.sleep(PAUSE_S)
            continue
        if answer.is_success:
            ledger.accepted.update((endpoint.source, id_) for id_ in answer.json()["ids"])
            return
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            ledger.refused[answer.status_code] += 1
            return
        await asyncio.sleep(PAUSE_S)
    ledger.refused[httpx.codes.SERVICE_UNAVAILABLE] += 1
