"""One subscriber's side of the fan-out: a bounded queue of batches that it shares with others."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain

from api.live.batch import Batch
from api.live.events import RecordedEvent


class SlowSubscriber(Exception):  # noqa: N818  a state of the subscriber, not a mistake of ours
    """The subscriber took its events too slowly: it is cut off and comes back with its cursor."""


class Stopping(Exception):  # noqa: N818
    """The process is going down: streams end, their clients resume at another replica."""


class Channel:
    """Who follows the same events: a tenant's, or those of one incident; ``pending`` waits for the next round."""

    __slots__ = ("key", "pending", "subscriptions")

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.pending: list[RecordedEvent] = []
        self.subscriptions: set[Subscription] = set()

    def hand_out(self) -> int:
        """Offer what is pending to every subscriber, as one batch; how many they are."""
        batch, self.pending = Batch(self.pending), []
        for subscription in self.subscriptions:
            subscription.offer(batch)
        return len(self.subscriptions)


class Subscription:
    """The queue of one subscriber of a channel; ``limit`` is how many events may wait in it.

    Whoever has taken everything gets the next batch whatever its size: it is not behind.
    """

    __slots__ = ("_batches", "_count", "_due", "_limit", "_overflowed", "_stopping", "_timer", "_waiter", "channel")

    def __init__(self, channel: Channel, limit: int) -> None:
        self.channel = channel
        channel.subscriptions.add(self)
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._count = 0
        self._overflowed = False
        self._stopping = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def offer(self, batch: Batch) -> None:
        """Queue a batch; a queue that would run over is given up and says so at the next ``take``."""
        if self._count and self._count + len(batch) > self._limit:
            self._overflowed = True
            self._batches.clear()
        if not self._overflowed:
            self._batches.append(batch)
            self._count += len(batch)
        self._wake()

    def stop(self) -> None:
        """End the subscription at its next ``take``."""
        self._stopping = True
        self._wake()

    def close(self) -> None:
        """Leave the channel and forget the timer."""
        self.channel.subscriptions.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def take(self, due: float) -> Batch:
        """Everything that is queued; waits for the first, and gives nothing once the loop's clock is past ``due``.

        Raises ``SlowSubscriber`` when the queue ran over, ``Stopping`` when the process goes down.
        """
        if not (self._batches or self._overflowed or self._stopping):
            await self._wait(due)
        if self._stopping:
            raise Stopping
        if self._overflowed:
            raise SlowSubscriber
        taken = self._batches[0] if len(self._batches) == 1 else Batch(chain.from_iterable(self._batches))
        self._batches.clear()
        self._count = 0
        return taken

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be taken, here or in the channel."""
        return not (self._batches or self._overflowed or self.channel.pending)

    async def _wait(self, due: float) -> None:
        """Until woken, or past ``due``: the timer stays from one wait to the next, for a stream that is busy."""
        loop = asyncio.get_running_loop()
        self._due = due
        self._waiter = loop.create_future()
        if self._timer is None or self._timer.when() > due:
            self._set_timer(loop)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._waiter is None:
            return  # the next wait sets it again
        if loop.time() < self._due:
            self._set_timer(loop)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
