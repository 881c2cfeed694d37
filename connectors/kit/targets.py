"""What the dispatcher knows about each integration it sends to: its circuit, its rate and how much is under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from connectors.kit.breaker import CircuitBreaker
from connectors.kit.file_attempt import FileReport
from connectors.kit.outcome import Gone, Outcome, TooLate, TransientFailure
from connectors.kit.ratelimit import TokenBucket
from connectors.kit.ticket_attempt import TicketReport


class HeldBack(Exception):  # noqa: N818  not an error: the intent waits
    """The target is not to be called now; ``delay_s`` is when to ask again."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(f"held back for {delay_s:.1f} s")
        self.delay_s = delay_s


class Target:
    """One integration. ``concurrency`` calls at once, ``rate_per_s`` calls a second, none while its circuit is open."""

    def __init__(self, concurrency: int, rate_per_s: float, clock: Callable[[], float]) -> None:
        self._gate = asyncio.Semaphore(concurrency)
        self._bucket = TokenBucket(rate_per_s)
        self._breaker = CircuitBreaker()
        self._clock = clock
        self._in_flight = 0

    @property
    def is_open(self) -> bool:
        """Whether its circuit is open."""
        return self._breaker.is_open

    def may_start(self) -> bool:
        """Whether an intent for it is worth leasing now."""
        return not self._gate.locked() and self._breaker.allows(self._clock(), self._in_flight)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to call it; raises ``HeldBack`` while its circuit is open."""
        async with self._gate:
            await asyncio.sleep(self._bucket.delay(self._clock()))
            now = self._clock()
            if not self._breaker.allows(now, self._in_flight):
                raise HeldBack(max(0.5, self._breaker.pause(now)))
            self._bucket.take(now)
            self._in_flight += 1
            try:
                yield
            finally:
                self._in_flight -= 1

    def learn(self, outcome: Outcome | TooLate | TicketReport | FileReport | Gone) -> None:
        """Count an outcome: only a target that fails is held back, not one that refuses an intent or throttles us."""
        if isinstance(outcome, TransientFailure) and not outcome.throttled:
            self._breaker.failed(self._clock())
        elif not isinstance(outcome, TransientFailure):
            self._breaker.succeeded()


class Targets:
    """The targets of a process, made when they are first needed."""

    def __init__(self, concurrency: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._concurrency = concurrency
        self._clock = clock
        self._known: dict[str, Target] = {}

    def of(self, integration_id: str, rate_per_s: float) -> Target:
        """The target of an integration."""
        if integration_id not in self._known:
            self._known[integration_id] = Target(self._concurrency, rate_per_s, self._clock)
        return self._known[integration_id]

    def held_back(self) -> list[str]:
        """Integrations of which nothing should be leased now."""
        return [integration_id for integration_id, target in self._known.items() if not target.may_start()]

    def open_circuits(self) -> int:
        """How many are held back because they fail."""
        return sum(target.is_open for target in self._known.values())
