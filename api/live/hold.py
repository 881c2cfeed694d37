"""Holding events back until the read models show them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from api.live.events import RecordedEvent


class Hold:
    """Events by partition, in offset order; at most about ``limit`` of them before reading should pause."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[int, deque[tuple[int, RecordedEvent]]] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many events are held."""
        return self._count

    @property
    def full(self) -> bool:
        """Whether reading should pause."""
        return self._count >= self._limit

    def add(self, partition: int, offset: int, event: RecordedEvent) -> None:
        """Hold an event; offsets of a partition come ascending."""
        self._waiting.setdefault(partition, deque()).append((offset, event))
        self._count += 1

    def release(self, passed: Mapping[int, int]) -> list[RecordedEvent]:
        """Take out the events that every serving projection has passed (``passed``: partition to next offset)."""
        released: list[RecordedEvent] = []
        for partition, waiting in self._waiting.items():
            limit = passed.get(partition, 0)
            while waiting and waiting[0][0] < limit:
                released.append(waiting.popleft()[1])
        self._count -= len(released)
        return released

    def oldest(self) -> RecordedEvent | None:
        """The event with the earliest recorded time of those held."""
        heads = [waiting[0][1] for waiting in self._waiting.values() if waiting]
        return min(heads, key=lambda event: event.envelope.recordedtime, default=None)
