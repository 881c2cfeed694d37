"""Which fault comes when: a seeded deck, of which several faults of different parts can be in force at once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from infra.torture.arena import Fault


def shuffled(kinds: Sequence[Fault], steps: int, rng: random.Random) -> list[Fault]:
    """Which fault each step has: each kind once in random order, then at random by weight."""
    once = list(kinds)
    rng.shuffle(once)
    weights = [fault.weight for fault in kinds]
    return (once + rng.choices(kinds, weights, k=max(0, steps - len(once))))[:steps]


class Deck:
    """The faults that are still to come, handed out so that no part is under two at a time."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._waiting = list(enumerate(faults, start=1))
        self._left = Counter(fault.part for fault in faults)
        self._busy: set[str] = set()
        self._freed = asyncio.Condition()

    async def take(self) -> tuple[int, Fault] | None:
        """The next step, of the part that has most left among those that nothing is done to; none when all are out."""
        async with self._freed:
            while self._waiting:
                free = [entry for entry in self._waiting if entry[1].part not in self._busy]
                if free:
                    entry = max(free, key=lambda one: self._left[one[1].part])
                    self._waiting.remove(entry)
                    self._left[entry[1].part] -= 1
                    self._busy.add(entry[1].part)
                    return entry
                await self._freed.wait()
        return None

    async def give_back(self, part: str) -> None:
        """The part is healed: the next fault may hit it."""
        async with self._freed:
            self._busy.discard(part)
            self._freed.notify_all()
