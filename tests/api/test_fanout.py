"""Fan-out in rounds: at once to a few subscribers, several events in one batch to many; nothing is lost."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from api.live import fanout as module
from api.live.batch import Batch
from api.live.fanout import Fanout
from api.live.follow import Followed, Follower, Selection
from api.live.subscription import SlowSubscriber
from tests.api.test_live import ACK, Store, event, fanout, reading, soon


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One subscriber is as many: the longest pause follows each round."""
    monkeypatch.setattr(module, "_PAUSE_S", module._LONGEST_PAUSE_S)


def sequences(batch: object) -> list[int]:
    assert isinstance(batch, tuple)
    return [one.tenantsequence for one in batch]


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_an_event_goes_at_once_to_a_few() -> None:
    out = fanout()
    subscription = out.subscribe("acme")
    for sequence in range(1, 4):
        out.publish([event(sequence)])
        taking = asyncio.ensure_future(subscription.take(soon()))
        await turns()
        if not taking.done():
            await asyncio.sleep(0.002)  # the pause after a round of one, on the loop's clock
        assert sequences(await taking) == [sequence]


@pytest.mark.usefixtures("busy")
async def test_what_is_released_during_a_pause_comes_in_one_batch_that_subscribers_share() -> None:
    out = fanout()
    one, other = out.subscribe("acme"), out.subscribe("acme")
    out.publish([event(1)])
    first = await one.take(soon())
    assert sequences(first) == [1]
    for sequence in range(2, 5):
        out.publish([event(sequence)])
        await turns()
        assert out.released("acme") == sequence, "whoever waits for a write is answered without a pause"
    assert one.idle is False
    later = await one.take(soon())
    assert sequences(later) == [2, 3, 4]
    assert sequences(await other.take(soon())) == [1, 2, 3, 4]
    out.publish([event(5)])
    assert await one.take(soon()) is await other.take(soon())


@pytest.mark.usefixtures("busy")
async def test_a_heartbeat_does_not_pass_over_what_waits_for_the_next_round() -> None:
    out = fanout()
    follower = Follower(out, Store(), reading=reading(), replay_limit=10, heartbeat_s=0.001)
    async with aclosing(follower.follow(Selection("acme"), None)) as stream:
        assert await anext(stream) == Followed(Batch(), 0)
        out.publish([event(1)])
        seen: list[int] = []
        while seen != [1, 2]:
            item = await anext(stream)
            assert isinstance(item, Followed)
            seen += [one.tenantsequence for one in item.events]
            assert item.cursor == (seen[-1] if seen else 0)
            if seen == [1] and out.released("acme") == 1:
                out.publish([event(2)])


async def test_whoever_is_not_behind_takes_a_batch_of_any_size() -> None:
    out = fanout(queue_limit=2)
    subscription = out.subscribe("acme")
    out.publish([event(sequence) for sequence in range(1, 6)])
    assert sequences(await subscription.take(soon())) == [1, 2, 3, 4, 5]
    subscription.offer(Batch([event(6)]))
    subscription.offer(Batch([event(7)]))
    assert sequences(await subscription.take(soon())) == [6, 7], "as many as may wait"
    subscription.offer(Batch([event(8)]))
    subscription.offer(Batch([event(9), event(10)]))
    subscription.offer(Batch([event(11)]))
    with pytest.raises(SlowSubscriber):
        await subscription.take(soon())


async def test_a_subscriber_that_left_gets_nothing_and_leaves_nothing() -> None:
    out = fanout()
    one, other = out.subscribe("acme", "i1"), out.subscribe("acme", "i1")
    out.publish([event(1)])
    out.unsubscribe(one)
    assert sequences(await other.take(soon())) == [1]
    assert not await one.take(soon(0.01))
    out.unsubscribe(other)
    out.publish([event(2)])
    late = out.subscribe("acme", "i1")
    assert not await late.take(soon(0.01)), "what was released before is not for it"


async def test_waiting_again_and_again_keeps_the_time_it_is_given() -> None:
    out = fanout()
    subscription = out.subscribe("acme")
    long = asyncio.ensure_future(subscription.take(soon(60)))
    await turns()
    out.publish([event(1)])
    assert sequences(await long) == [1]
    assert not await subscription.take(soon(0.01)), "sooner than what was waited for before"
    assert not await subscription.take(soon(-1)), "past already"


async def test_filters_of_types_and_incidents_get_theirs_of_a_batch() -> None:
    out = fanout()
    follower = Follower(out, Store(), reading=reading(), replay_limit=10, heartbeat_s=1)
    whole = follower.follow(Selection("acme"), None)
    types = follower.follow(Selection("acme", types=frozenset({ACK})), None)
    one = follower.follow(Selection("acme", "i2"), None)
    foreign = follower.follow(Selection("rival"), None)
    async with aclosing(whole), aclosing(types), aclosing(one), aclosing(foreign):
        for stream in (whole, types, one, foreign):
            await anext(stream)
        rival = asyncio.ensure_future(anext(foreign))
        out.publish([event(1), event(2, type_=ACK), event(3, incident="i2")])
        found = []
        for stream in (whole, types, one):
            item = await anext(stream)
            assert isinstance(item, Followed)
            found.append(([e.tenantsequence for e in item.events], item.cursor))
        assert found == [([1, 2, 3], 3), ([2], 3), ([3], 3)]
        out.publish([event(1, tenant="rival")])
        item = await rival
        assert isinstance(item, Followed)
        assert [e.tenant_id for e in item.events] == ["rival"]


async def test_limits_count_subscribers_of_all_channels() -> None:
    out = Fanout(queue_limit=2, max_subscribers=2)
    first, _ = out.subscribe("acme"), out.subscribe("rival", "i1")
    with pytest.raises(module.TooManySubscribers):
        out.subscribe("third")
    out.unsubscribe(first)
    out.subscribe("third")


async def test_the_pause_grows_with_the_subscribers_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S", 0.004)
    pauses: list[float] = []
    loop, later = asyncio.get_running_loop(), asyncio.get_running_loop().call_later

    def noted(delay: float, *call: Any) -> asyncio.TimerHandle:
        pauses.append(delay)
        return later(delay, *call)

    monkeypatch.setattr(loop, "call_later", noted)
    out, subscriptions = fanout(), []
    for sequence, more in ((1, 1), (2, 9), (3, 90)):
        subscriptions += [out.subscribe("acme") for _ in range(more)]
        out.publish([event(sequence)])
        for subscription in subscriptions:
            assert sequences(await subscription.take(soon(30))) == [sequence]
    await turns()
    assert pauses == [0.004, 0.04, module._LONGEST_PAUSE_S]
