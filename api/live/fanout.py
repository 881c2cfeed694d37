"""From one stream of released events to many subscribers, each with a bounded queue of its own."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable

from api.live.events import RecordedEvent
from streams.domain.errors import IncidentsError
from streams.runtime import metrics


class SlowSubscriber(Exception):  # noqa: N818  a state of the subscriber, not a mistake of ours
    """The subscriber took its events too slowly: it is cut off and comes back with its cursor."""


class Stopping(Exception):  # noqa: N818
    """The process is going down: streams end, their clients resume at another replica."""


class TooManySubscribers(Exception):  # noqa: N818
    """As many streams are open as may be."""


class Subscription:
    """The queue of one subscriber: events of a tenant, or of one incident of it."""

    __slots__ = ("_events", "_limit", "_overflowed", "_stopping", "_wake", "incident_id", "tenant_id")

    def __init__(self, tenant_id: str, incident_id: str, limit: int) -> None:
        self.tenant_id = tenant_id
        self.incident_id = incident_id
        self._limit = limit
        self._events: deque[RecordedEvent] = deque()
        self._overflowed = False
        self._stopping = False
        self._wake = asyncio.Event()

    def offer(self, event: RecordedEvent) -> None:
        """Queue an event; a full queue is given up and says so at the next ``take``."""
        if len(self._events) >= self._limit:
            self._overflowed = True
            self._events.clear()
        if not self._overflowed:
            self._events.append(event)
        self._wake.set()

    def stop(self) -> None:
        """End the subscription at its next ``take``."""
        self._stopping = True
        self._wake.set()

    async def take(self, timeout_s: float) -> list[RecordedEvent]:
        """Everything that is queued; waits for the first, and gives nothing after ``timeout_s``.

        Raises ``SlowSubscriber`` when the queue ran over, ``Stopping`` when the process goes down.
        """
        if not self._wake.is_set():
            try:
                await asyncio.wait_for(self._wake.wait(), timeout_s)
            except TimeoutError:
                return []
        self._wake.clear()
        if self._stopping:
            raise Stopping
        if self._overflowed:
            raise SlowSubscriber
        events = list(self._events)
        self._events.clear()
        return events

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._events and not self._overflowed


class SequenceGap(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """An event of a tenant is missing on its way to the subscribers."""


class Fanout:
    """Subscribers by tenant and incident, and how far each tenant's events are released.

    Used from the event loop only. ``released`` keeps one number for each tenant that was active since the start.
    """

    def __init__(self, *, queue_limit: int, max_subscribers: int) -> None:
        self._queue_limit = queue_limit
        self._max_subscribers = max_subscribers
        self._subscriptions: defaultdict[tuple[str, str], set[Subscription]] = defaultdict(set)
        self._count = 0
        self._released: dict[str, int] = {}
        self._waiting: defaultdict[str, list[tuple[int, asyncio.Future[None]]]] = defaultdict(list)

    def subscribe(self, tenant_id: str, incident_id: str = "") -> Subscription:
        """A new subscriber, which gets all that is released from now on; raises ``TooManySubscribers``."""
        if self._count >= self._max_subscribers:
            raise TooManySubscribers
        subscription = Subscription(tenant_id, incident_id, self._queue_limit)
        self._subscriptions[tenant_id, incident_id].add(subscription)
        self._count += 1
        metrics.API_SUBSCRIBERS.set(self._count)
        return subscription

    def stop(self) -> None:
        """End every stream."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.stop()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscriber; forgetting it twice is harmless."""
        key = subscription.tenant_id, subscription.incident_id
        others = self._subscriptions.get(key)
        if others is None or subscription not in others:
            return
        others.discard(subscription)
        if not others:
            del self._subscriptions[key]
        self._count -= 1
        metrics.API_SUBSCRIBERS.set(self._count)

    def released(self, tenant_id: str) -> int:
        """The last ``tenantsequence`` released here; 0 when none was since the start."""
        return self._released.get(tenant_id, 0)

    def publish(self, events: Iterable[RecordedEvent]) -> None:
        """Hand released events to their subscribers, in order; what was handed out before is dropped.

        Raises ``SequenceGap`` where a tenant's events are not one after the other: going on would hide the hole (R5).
        """
        for event in events:
            tenant_id, sequence = event.tenant_id, event.tenantsequence
            last = self._released.get(tenant_id)
            if last is not None and sequence <= last:
                continue
            if last is not None and sequence != last + 1:
                metrics.API_SEQUENCE_GAPS.inc()
                raise SequenceGap(f"tenant {tenant_id}: event {sequence} came after {last}")
            self._released[tenant_id] = sequence
            self._offer(event)
            if tenant_id in self._waiting:
                self._wake(tenant_id, sequence)

    def _offer(self, event: RecordedEvent) -> None:
        for incident_id in {"", event.incident_id}:
            for subscription in self._subscriptions.get((event.tenant_id, incident_id), ()):
                subscription.offer(event)

    def waiter(self, tenant_id: str, tenantsequence: int) -> asyncio.Future[None]:
        """A future that is done once the tenant's events up to ``tenantsequence`` are released."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.released(tenant_id) >= tenantsequence:
            future.set_result(None)
        else:
            self._waiting[tenant_id].append((tenantsequence, future))
            future.add_done_callback(lambda _: self._forget(tenant_id, future))
        return future

    def _wake(self, tenant_id: str, sequence: int) -> None:
        for wanted, future in self._waiting[tenant_id]:
            if wanted <= sequence and not future.done():
                future.set_result(None)

    def _forget(self, tenant_id: str, future: asyncio.Future[None]) -> None:
        left = [entry for entry in self._waiting.get(tenant_id, ()) if entry[1] is not future]
        if left:
            self._waiting[tenant_id] = left
        else:
            self._waiting.pop(tenant_id, None)
