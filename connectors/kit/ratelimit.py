"""A token bucket per target, so that we stay below a provider's limit instead of running into it."""

from __future__ import annotations


class TokenBucket:
    """At most ``rate_per_s`` calls a second on average, ``burst`` at once. Time is given, in seconds."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate_per_s: float, burst: float = 10.0) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._updated = 0.0

    def delay(self, now: float) -> float:
        """Seconds until the next call may be made; 0 when at once."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self, now: float) -> None:
        """Count a call; made too early, it pushes the next ones out."""
        self._refill(now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._updated) * self._rate)
        self._updated = max(now, self._updated)
