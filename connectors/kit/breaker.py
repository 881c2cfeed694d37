"""A circuit breaker per target: a provider that is down is asked again now and then, not with every intent.

After M. Nygard, "Release It!", chapter 5: closed, open after ``threshold`` failures in a row, half open after a pause
that doubles with each failed trial.
"""

from __future__ import annotations


class CircuitBreaker:
    """Time is given, in seconds."""

    __slots__ = ("_failures", "_max_pause_s", "_pause_s", "_threshold", "_trial_at", "_trials")

    def __init__(self, threshold: int = 5, pause_s: float = 5.0, max_pause_s: float = 120.0) -> None:
        self._threshold = threshold
        self._pause_s = pause_s
        self._max_pause_s = max_pause_s
        self._failures = 0
        self._trials = 0
        self._trial_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the target is held back (also while it is being tried)."""
        return self._failures >= self._threshold

    def allows(self, now: float, in_flight: int = 0) -> bool:
        """Whether a call may start: while open, one trial at a time and only after the pause."""
        return not self.is_open or (now >= self._trial_at and not in_flight)

    def pause(self, now: float) -> float:
        """Seconds until a trial may start."""
        return max(0.0, self._trial_at - now) if self.is_open else 0.0

    def succeeded(self) -> None:
        """The target answered: close."""
        self._failures = self._trials = 0

    def failed(self, now: float) -> None:
        """The target did not answer, or with an error of its own."""
        self._failures += 1
        if self.is_open:
            self._trial_at = now + min(self._max_pause_s, self._pause_s * 2.0**self._trials)
            self._trials = min(self._trials + 1, 16)
