"""Rate limits of a fake: so many calls in so many seconds, for each key."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable


class Window:
    """At most ``limit`` calls in any ``seconds`` (0: no limit); ``clock`` gives seconds."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._seconds = seconds
        self._clock = clock
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def take(self, key: str = "") -> float:
        """Count a call; 0 when it is allowed, else the seconds until one will be (then it is not counted)."""
        if not self.limit:
            return 0.0
        now, calls = self._clock(), self._calls[key]
        while calls and now - calls[0] >= self._seconds:
            calls.popleft()
        if len(calls) >= self.limit:
            return calls[0] + self._seconds - now
        calls.append(now)
        return 0.0
