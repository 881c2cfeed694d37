"""From one stream of released events to many subscribers, in rounds.

A delivery costs a wake-up and a write, however many events it carries. So subscribers get what was released in rounds:
at once while they are few, and with a pause after each round that grows with the number of those whom it woke, so that
many subscribers of a busy tenant get several events in one write and the loop has time for all else.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from api.live.events import RecordedEvent
from api.live.subscription import Channel, Subscription
from streams.domain.errors import IncidentsError
from streams.runtime import metrics

_PAUSE_S = 0.0002
"""For each subscriber who was woken: several times what serving it costs."""
_LONGEST_PAUSE_S = 0.1


class TooManySubscribers(Exception):  # noqa: N818
    """As many streams are open as may be."""


class SequenceGap(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """An event of a tenant is missing on its way to the subscribers."""


class Rounds:
    """Calls ``deliver`` soon after it was asked for, and rests after each round in proportion to whom it woke.

    ``deliver`` says how many that were. The rest begins once they have run and the loop has written for them.
    """

    def __init__(self, deliver: Callable[[], int]) -> None:
        self._deliver = deliver
        self._asked = False
        self._busy = False

    def ask(self) -> None:
        """A round is wanted: now, or after the present one and its pause."""
        if not self._asked:
            self._asked = True
            if not self._busy:
                asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._asked, self._busy = False, True
        pause = min(_LONGEST_PAUSE_S, self._deliver() * _PAUSE_S)
        loop.call_soon(loop.call_soon, loop.call_later, pause, self._go_on)  # it writes at the end of the turn between

    def _go_on(self) -> None:
        self._busy = False
        if self._asked:
            self._begin()


class Fanout:
    """Subscribers by tenant and incident, and how far each tenant's events are released.

    Used from the event loop only. ``released`` keeps one number for each tenant that was active since the start.
    """

    def __init__(self, *, queue_limit: int, max_subscribers: int) -> None:
        self._queue_limit = queue_limit
        self._max_subscribers = max_subscribers
        self._channels: dict[tuple[str, str], Channel] = {}
        self._count = 0
        self._waking: list[Channel] = []
        self._rounds = Rounds(self._deliver)
        self._released: dict[str, int] = {}
        self._waiting: defaultdict[str, list[tuple[int, asyncio.Future[None]]]] = defaultdict(list)

    def subscribe(self, tenant_id: str, incident_id: str = "") -> Subscription:
        """A new subscriber, which gets all that is released from now on; raises ``TooManySubscribers``.

        It may also get what was released just before and waits for the next round.
        """
        if self._count >= self._max_subscribers:
            raise TooManySubscribers
        key = tenant_id, incident_id
        subscription = Subscription(self._channels.setdefault(key, Channel(key)), self._queue_limit)
        self._count += 1
        metrics.API_SUBSCRIBERS.set(self._count)
        return subscription

    def stop(self) -> None:
        """End every stream."""
        for channel in self._channels.values():
            for subscription in channel.subscriptions:
                subscription.stop()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscriber; forgetting it twice is harmless."""
        channel = subscription.channel
        if subscription not in channel.subscriptions:
            return
        subscription.close()
        if not channel.subscriptions:
            del self._channels[channel.key]
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
            self._queue(event)
            if tenant_id in self._waiting:
                self._wake(tenant_id, sequence)

    def _queue(self, event: RecordedEvent) -> None:
        for incident_id in {"", event.incident_id}:
            channel = self._channels.get((event.tenant_id, incident_id))
            if channel is not None:
                if not channel.pending:
                    self._waking.append(channel)
                channel.pending.append(event)
                self._rounds.ask()

    def _deliver(self) -> int:
        channels, self._waking = self._waking, []
        return sum(channel.hand_out() for channel in channels)

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
