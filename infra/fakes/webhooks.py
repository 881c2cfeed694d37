"""Webhooks that a fake sends: one address, signed, with losses, delays and duplicates on demand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from infra.fakes.store import Store

Sign = Callable[[bytes, str, Mapping[str, str]], Mapping[str, str]]
"""Body, secret and the headers that it has already, to further headers of a delivery."""

_OK = range(200, 300)
_KIND, _ID = "webhook", "target"


@dataclass(frozen=True, slots=True)
class WebhookFault:
    """What happens to one webhook: it is lost, sent twice, or late by ``seconds`` (and so overtaken by others)."""

    kind: Literal["loss", "delay", "duplicate"]
    seconds: float = 0.0


class Webhooks:
    """Sends to the address that it was given last. ``retry_s``: waits before it tries a failed delivery again."""

    def __init__(self, store: Store, sign: Sign, retry_s: Sequence[float] = ()) -> None:
        self._store = store
        self._sign = sign
        self._retry_s = tuple(retry_s)
        self._faults: deque[WebhookFault] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def target(self, document: Mapping[str, Any]) -> None:
        """Send to ``{"url", "secret"}`` from now on; an empty URL stops it."""
        given = {"url": str(document.get("url", "")), "secret": str(document.get("secret", ""))}
        self._store.put(_KIND, _ID, given)

    def add_faults(self, document: Mapping[str, Any]) -> int:
        """Queue ``{"kind", "seconds"?, "times"?}`` for the next webhooks; how many are queued."""
        fault = WebhookFault(document["kind"], float(document.get("seconds", 0.0)))
        self._faults.extend([fault] * int(document.get("times", 1)))
        return len(self._faults)

    def emit(self, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """Send a webhook beside whatever goes on; needs a running loop."""
        target = self._store.get(_KIND, _ID)
        if target is None or not target["url"]:
            return
        fault = self._faults.popleft() if self._faults else None
        if fault is not None and fault.kind == "loss":
            self._store.count("webhook:lost")
            return
        body = json.dumps(document, separators=(",", ":")).encode()
        delay_s = fault.seconds if fault is not None else 0.0
        for _ in range(2 if fault is not None and fault.kind == "duplicate" else 1):
            task = asyncio.create_task(self._deliver(target["url"], body, target["secret"], headers or {}, delay_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, url: str, body: bytes, secret: str, headers: Mapping[str, str], delay_s: float) -> None:
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            for pause_s in (delay_s, *self._retry_s):
                await asyncio.sleep(pause_s)
                sent = {"Content-Type": "application/json", **headers, **self._sign(body, secret, headers)}
                try:
                    answer = await client.post(url, content=body, headers=sent)
                except httpx.RequestError:
                    continue
                if answer.status_code in _OK:
                    self._store.count("webhook:delivered")
                    return
        self._store.count("webhook:failed")

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
