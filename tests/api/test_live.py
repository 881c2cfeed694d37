"""The live path without servers: holding, fanning out and splicing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.auth import Unavailable
from api.live.batch import Batch
from api.live.events import RecordedEvent
from api.live.fanout import Fanout, SequenceGap, TooManySubscribers
from api.live.follow import Followed, Follower, Reset, Selection
from api.live.hold import Hold
from api.live.outcomes import Outcomes
from api.live.path import LivePath
from api.live.subscription import SlowSubscriber, Stopping
from streams.domain.envelope import Envelope
from streams.domain.outputs import CommandAccepted
from streams.runtime.settings import KafkaSettings

NOTE = "com.incidents.note_added.v1"
ACK = "com.incidents.acknowledged.v1"


def event(sequence: int, *, tenant: str = "acme", incident: str = "i1", type_: str = NOTE) -> RecordedEvent:
    envelope = Envelope(
        id=f"e{sequence}", source="", type=type_, tenantid=tenant, subject=incident, tenantsequence=sequence
    )
    return RecordedEvent(envelope, None, {})


def fanout(queue_limit: int = 256, max_subscribers: int = 100) -> Fanout:
    return Fanout(queue_limit=queue_limit, max_subscribers=max_subscribers)


def soon(seconds: float = 1.0) -> float:
    """A moment on the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


def reading() -> asyncio.Event:
    """The live path reads."""
    begun = asyncio.Event()
    begun.set()
    return begun


class Store:
    """The timeline as a list: what the projection has committed so far."""

    def __init__(self, events: Sequence[RecordedEvent] = ()) -> None:
        self.events = list(events)

    async def last(self, tenant_id: str) -> int:
        return max((e.tenantsequence for e in self.events if e.tenant_id == tenant_id), default=0)

    async def after(self, selection: Selection, after: int, until: int, limit: int) -> Sequence[RecordedEvent]:
        await asyncio.sleep(0)
        chosen = [e for e in self.events if e.tenant_id == selection.tenant_id and after < e.tenantsequence <= until]
        return [e for e in chosen if selection.holds(e)][:limit]


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60))
def test_what_is_held_comes_out_once_in_order_and_never_before_its_checkpoint(steps: list[tuple[int, bool]]) -> None:
    hold, passed, added, released = Hold(1000), {0: 0, 1: 0, 2: 0}, dict.fromkeys(range(3), 0), []
    for partition, is_commit in steps:
        if is_commit:
            passed[partition] = min(passed[partition] + 2, added[partition])
        else:
            hold.add(partition, added[partition], event(added[partition], tenant=str(partition)))
            added[partition] += 1
        for out in hold.release(passed):
            assert out.tenantsequence < passed[int(out.tenant_id)]
            released.append((out.tenant_id, out.tenantsequence))
    assert released == list(dict.fromkeys(released))
    for partition in range(3):
        mine = [sequence for tenant, sequence in released if tenant == str(partition)]
        assert mine == list(range(passed[partition]))
    assert len(hold) == sum(added.values()) - len(released)


def test_a_full_hold_asks_to_pause() -> None:
    hold = Hold(2)
    states = []
    for offset in range(2):
        hold.add(0, offset, event(offset))
        states.append(hold.full)
    hold.release({0: 1})
    assert [*states, hold.full] == [False, True, False]


async def test_subscribers_get_their_tenant_or_incident_and_nothing_twice() -> None:
    out = fanout()
    whole, one, other = out.subscribe("acme"), out.subscribe("acme", "i1"), out.subscribe("rival")
    out.publish([event(1), event(2, incident="i2"), event(2, incident="i2"), event(1), event(3)])
    assert [e.tenantsequence for e in await whole.take(soon())] == [1, 2, 3]
    assert [e.tenantsequence for e in await one.take(soon())] == [1, 3]
    assert not await other.take(soon(0.01))
    assert out.released("acme") == 3


async def test_a_full_queue_cuts_its_subscriber_off_and_no_other() -> None:
    out = fanout(queue_limit=2)
    slow, fast = out.subscribe("acme"), out.subscribe("acme")
    out.publish([event(1), event(2)])
    assert len(await fast.take(soon())) == 2
    out.publish([event(3)])
    assert [e.tenantsequence for e in await fast.take(soon())] == [3]
    with pytest.raises(SlowSubscriber):
        await slow.take(soon())


async def test_subscribers_are_limited_and_leaving_makes_room() -> None:
    out = fanout(max_subscribers=1)
    first = out.subscribe("acme")
    with pytest.raises(TooManySubscribers):
        out.subscribe("acme")
    out.unsubscribe(first)
    out.unsubscribe(first)
    out.subscribe("acme")


async def test_a_hole_is_never_passed_over() -> None:
    one = fanout()
    subscription = one.subscribe("acme")
    one.publish([event(4)])
    with pytest.raises(SequenceGap, match="6 came after 4"):
        one.publish([event(4), event(6)])
    assert [e.tenantsequence for e in await subscription.take(soon())] == [4]
    assert one.released("acme") == 4


async def test_a_path_with_a_hole_stops_and_says_so() -> None:
    live = LivePath(KafkaSettings(), fanout(), no_checkpoints, held_events=10)
    subscription = live.fanout.subscribe("acme")
    for offset, sequence in ((0, 1), (1, 3), (2, 4)):
        live._hold.add(0, offset, event(sequence))
    live._release({0: 3})
    assert "3 came after 1" in live.failure
    live._release({0: 3})
    assert live.fanout.released("acme") == 1
    with pytest.raises(Stopping):
        await subscription.take(soon())


async def no_checkpoints() -> dict[int, int]:
    return {}


async def test_waiters_are_woken_by_their_sequence_or_a_later_one() -> None:
    out = fanout()
    waiter, later = out.waiter("acme", 2), out.waiter("acme", 9)
    out.publish([event(1)])
    assert not waiter.done()
    out.publish([event(2)])
    assert waiter.done()
    assert not later.done()
    assert out.waiter("acme", 1).done()
    later.cancel()


@given(
    stored=st.integers(0, 40),
    joined=st.integers(0, 40),
    after=st.integers(0, 40),
    batch=st.integers(1, 7),
)
def test_the_splice_has_no_gap_and_no_repeat(stored: int, joined: int, after: int, batch: int) -> None:
    """Whenever a reader joins and wherever from: it sees each later event once, in order."""
    asyncio.run(_splice(stored, stored + joined, min(after, stored), batch))


async def _splice(stored: int, total: int, after: int, batch: int) -> None:
    store, out = Store([event(n) for n in range(1, stored + 1)]), fanout(queue_limit=1000)
    follower = Follower(out, store, reading=reading(), replay_limit=1000, heartbeat_s=0.05)

    async def write() -> None:
        for first in range(stored + 1, total + 1, batch):
            fresh = [event(n) for n in range(first, min(first + batch, total + 1))]
            store.events += fresh  # the projection commits first ...
            await asyncio.sleep(0)
            out.publish(fresh)  # ... and only then the event is released
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    seen: list[int] = []
    async with aclosing(follower.follow(Selection("acme"), after)) as stream:
        async for item in stream:
            assert isinstance(item, Followed)
            seen += [e.tenantsequence for e in item.events]
            assert not seen or item.cursor >= seen[-1]
            if item.cursor >= total:
                break
    await writing
    assert seen == list(range(after + 1, total + 1))


async def test_a_stream_begins_only_once_the_record_is_read() -> None:
    """What is projected between a look at the store and the start of reading would come from neither."""
    store, out, begun = Store([event(1)]), fanout(), asyncio.Event()
    follower = Follower(out, store, reading=begun, replay_limit=10, heartbeat_s=1)
    async with aclosing(follower.follow(Selection("acme"), 0)) as stream:
        first = asyncio.ensure_future(anext(stream))
        for _ in range(5):
            await asyncio.sleep(0)
        store.events.append(event(2))  # projected before reading begins behind it
        begun.set()
        item = await first
    assert isinstance(item, Followed)
    assert [e.tenantsequence for e in item.events] == [1, 2]


async def test_without_a_record_to_read_a_stream_is_sent_away() -> None:
    follower = Follower(
        fanout(), Store([event(1)]), reading=asyncio.Event(), replay_limit=10, heartbeat_s=1, patience_s=0.01
    )
    with pytest.raises(Unavailable, match="not being read"):
        await anext(follower.follow(Selection("acme"), 0))


async def test_a_long_gap_is_read_in_pages_before_subscribing() -> None:
    store, out = Store([event(n) for n in range(1, 2001)]), fanout(queue_limit=4)
    follower = Follower(out, store, reading=reading(), replay_limit=5000, heartbeat_s=1)
    seen: list[int] = []
    async with aclosing(follower.follow(Selection("acme"), 0)) as stream:
        async for item in stream:
            assert isinstance(item, Followed)
            seen += [e.tenantsequence for e in item.events]
            if item.cursor == 2000:
                break
    assert seen == list(range(1, 2001))


@pytest.mark.parametrize(("after", "reason"), [(99, "ahead"), (0, "back")])
async def test_a_cursor_that_cannot_be_resumed_from_gets_a_reset(after: int, reason: str) -> None:
    store = Store([event(n) for n in range(1, 21)])
    follower = Follower(fanout(), store, reading=reading(), replay_limit=10, heartbeat_s=1)
    async with aclosing(follower.follow(Selection("acme"), after)) as stream:
        first = await anext(stream)
        assert isinstance(first, Reset)
        assert first.cursor == 20
        assert reason in first.reason
        assert await anext(stream) == Followed(Batch(), 20)


async def test_filtered_streams_carry_the_cursor_forward_and_leave_no_subscriber_behind() -> None:
    out = fanout(max_subscribers=1)
    follower = Follower(out, Store(), reading=reading(), replay_limit=10, heartbeat_s=0.05)
    async with aclosing(follower.follow(Selection("acme", types=frozenset({ACK})), None)) as stream:
        assert await anext(stream) == Followed(Batch(), 0)
        out.publish([event(1), event(2, type_=ACK), event(3)])
        acknowledged = await anext(stream)
        assert isinstance(acknowledged, Followed)
        assert [e.tenantsequence for e in acknowledged.events] == [2]
        out.publish([event(4)])
        assert await anext(stream) == Followed(Batch(), 4)
        out.stop()
        with pytest.raises(Stopping):
            await anext(stream)
    out.subscribe("acme")


async def test_outcomes_reach_whoever_waits_and_stay_for_whoever_asks_later() -> None:
    outcomes = Outcomes(kept=2)
    first, second = outcomes.expect("acme", "c1"), outcomes.expect("acme", "c1")
    foreign = outcomes.expect("rival", "c1")
    outcomes.sent("acme", "c1")
    assert outcomes.is_pending("acme", "c1")
    accepted = CommandAccepted("c1", "i1")
    outcomes.deliver("acme", accepted)
    assert (await first, await second) == (accepted, accepted)
    assert not foreign.done()
    assert outcomes.get("acme", "c1") == accepted
    assert outcomes.get("rival", "c1") is None
    assert not outcomes.is_pending("acme", "c1")
    outcomes.deliver("acme", CommandAccepted("c2"))
    outcomes.deliver("acme", CommandAccepted("c3"))
    assert outcomes.get("acme", "c1") is None
    foreign.cancel()
