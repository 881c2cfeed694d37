"""Following a tenant or an incident from a cursor on: what is stored, then what is live, as one sequence.

The order of steps is what makes it whole. Subscribe first, read the gap second, drop what overlaps by
``tenantsequence``: an event released after subscribing is in the queue, one released before was stored before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from api.auth import Unavailable
from api.live.batch import Batch
from api.live.events import RecordedEvent
from api.live.fanout import Fanout
from api.live.subscription import Subscription

_PAGE = 500
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Followed:
    """The events that came next and the cursor after them; none of them: a sign of life that carries the cursor."""

    events: Batch
    cursor: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The given cursor cannot be resumed from (``reason``): read the state afresh, events go on after ``cursor``."""

    cursor: int
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events of a tenant: of one incident or all (empty), of some types or all (empty)."""

    tenant_id: str
    incident_id: str = ""
    types: frozenset[str] = frozenset()

    def holds(self, event: RecordedEvent) -> bool:
        """Whether the event is selected."""
        return (not self.incident_id or event.incident_id == self.incident_id) and (
            not self.types or event.type in self.types
        )


class StoredEvents(Protocol):
    """The timeline as the read models hold it; its methods raise ``Unavailable``."""

    async def last(self, tenant_id: str) -> int:
        """The tenant's last stored ``tenantsequence``; 0 when there is none."""

    async def after(self, selection: Selection, after: int, until: int, limit: int) -> Sequence[RecordedEvent]:
        """Selected events with ``after < tenantsequence <= until``, ascending, at most ``limit``."""


class Follower:
    """Opens and follows streams; ``replay_limit`` is how many events of the tenant a cursor may lie back.

    ``reading`` is set once the live path reads from somewhere: a stream that began before would miss what is projected
    until then, since that is neither read live nor was it stored when the stream looked.
    """

    def __init__(
        self,
        fanout: Fanout,
        stored: StoredEvents,
        *,
        reading: asyncio.Event,
        replay_limit: int,
        heartbeat_s: float,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._fanout = fanout
        self._stored = stored
        self._reading = reading
        self._patience_s = patience_s
        self._replay_limit = replay_limit
        self._heartbeat_s = heartbeat_s

    async def follow(self, selection: Selection, after: int | None) -> AsyncGenerator[Followed | Reset, None]:
        """What is selected, from behind the cursor ``after`` (``None``: from now) until the subscriber stops.

        The first item always says where the stream stands. Raises ``TooManySubscribers``, ``Unavailable`` (before the
        first item or in the middle of a long gap) and ``SlowSubscriber``; the last cursor is where to resume.
        """
        await self._until_reading()
        last = await self._stored.last(selection.tenant_id)
        cursor, reset = self._begin(after, last)
        if reset is not None:
            yield reset
        while last - cursor > _PAGE:  # catch up first: a queue would run over meanwhile
            async for page in self._stored_after(selection, cursor, last):
                yield page
            cursor, last = last, await self._stored.last(selection.tenant_id)
        subscription = self._fanout.subscribe(selection.tenant_id, selection.incident_id)
        try:
            last = max(cursor, await self._stored.last(selection.tenant_id))
            async for page in self._stored_after(selection, cursor, last):
                yield page
            async for item in self._live(selection, subscription, last):
                yield item
        finally:
            self._fanout.unsubscribe(subscription)

    async def _until_reading(self) -> None:
        """A process that has just started reads in a moment; one without Kafka sends its clients away."""
        try:
            await asyncio.wait_for(self._reading.wait(), self._patience_s)
        except TimeoutError as error:
            raise Unavailable("the record is not being read yet") from error

    def _begin(self, after: int | None, last: int) -> tuple[int, Reset | None]:
        if after is None:
            return last, None
        if after > last:
            return last, Reset(last, "the cursor is ahead of the record")
        if last - after > self._replay_limit:
            return last, Reset(last, f"the cursor is more than {self._replay_limit} events back")
        return after, None

    async def _stored_after(self, selection: Selection, after: int, until: int) -> AsyncGenerator[Followed, None]:
        """Pages of stored events; the last, perhaps empty, carries the cursor ``until``."""
        while after < until:
            events = await self._stored.after(selection, after, until, _PAGE)
            after = events[-1].tenantsequence if len(events) == _PAGE else until
            yield Followed(Batch(events), after)

    async def _live(
        self, selection: Selection, subscription: Subscription, cursor: int
    ) -> AsyncGenerator[Followed, None]:
        yield Followed(Batch(), cursor)
        loop = asyncio.get_running_loop()
        due = loop.time() + self._heartbeat_s
        while True:
            events = await subscription.take(due)
            fresh = self._fresh(selection, events, cursor)
            if events:
                cursor = max(cursor, events[-1].tenantsequence)
            elif subscription.idle:
                cursor = max(cursor, self._fanout.released(selection.tenant_id))
            if fresh or loop.time() >= due:
                due = loop.time() + self._heartbeat_s
                yield Followed(fresh, cursor)

    def _fresh(self, selection: Selection, events: Batch, cursor: int) -> Batch:
        """What is selected behind the cursor; those with the same filter share it unless the cursor cuts into it."""
        if events and events[0].tenantsequence <= cursor:
            return Batch(e for e in events if e.tenantsequence > cursor and selection.holds(e))
        if not selection.types:
            return events
        return events.once(selection, lambda batch: Batch(filter(selection.holds, batch)))
