"""Waiting for something to become so, for a bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

LIMIT_S = 300.0
"""What is longer hangs; how long it took is told in any case."""

POLL_S = 0.25

Look = Callable[[], Awaitable[bool]]


class NoRecovery(Exception):  # noqa: N818
    """Work did not flow again in time; the message says what did not."""


async def until(look: Look, limit_s: float = LIMIT_S) -> None:
    """Return as soon as it is so; raises ``NoRecovery`` when it does not come to be."""
    deadline = time.monotonic() + limit_s
    while not await look():
        if time.monotonic() > deadline:
            raise NoRecovery(f"not within {limit_s:.0f} s")
        await asyncio.sleep(POLL_S)
