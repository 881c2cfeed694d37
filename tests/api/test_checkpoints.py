"""What the API knows of the projections' positions: from notifications, and from queries where they do not say it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from api.live.checkpoints import Checkpoints
from projections.checkpoints import Progress

ALL = ("timeline_entries", "incidents")


class Asked:
    """A database whose answers are given by hand, and what became of them."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Mapping[int, int]] = asyncio.Queue()
        self.queries = 0
        self.progress: list[dict[int, int]] = []
        self.checkpoints = Checkpoints(
            self._fetch, lambda found: self.progress.append(dict(found)), topic="incident-events", serving=ALL
        )

    async def _fetch(self) -> Mapping[int, int]:
        self.queries += 1
        return await self.answers.get()

    async def read(self, **answer: int) -> None:
        self.answers.put_nowait({int(name[1:]): offset for name, offset in answer.items()})
        await self.checkpoints.read()


def told(partition: int, offset: int, *, names: tuple[str, ...] = ALL, topic: str = "incident-events") -> str:
    return Progress(topic, partition, offset, names).payload()


async def test_a_notification_of_all_serving_projections_needs_no_query() -> None:
    asked = Asked()
    await asked.read(p0=3, p1=7)
    asked.checkpoints.told(told(0, 5, names=(*ALL, "timers")))
    asked.checkpoints.told(told(0, 4))
    asked.checkpoints.told(told(2, 1))
    assert asked.progress == [{0: 3, 1: 7}, {0: 5, 1: 7}, {0: 5, 1: 7, 2: 1}]
    assert asked.queries == 1
    assert not asked.checkpoints._asked.is_set()


@pytest.mark.parametrize(
    "payload",
    ["", "{}", "[]", "no json", '{"topic":"incident-events","partition":0,"next_offset":9}', told(0, 9, names=ALL[:1])],
    ids=["connected again", "a swap", "a list", "not json", "an earlier version", "a read model was left behind"],
)
async def test_one_that_does_not_say_enough_is_followed_by_a_query(payload: str) -> None:
    asked = Asked()
    await asked.read(p0=3)
    asked.checkpoints.told(payload)
    assert asked.checkpoints._asked.is_set()
    assert asked.checkpoints.known == {0: 3}


async def test_before_the_first_answer_a_notification_is_not_all_there_is() -> None:
    asked = Asked()
    asked.checkpoints.told(told(0, 9))
    assert asked.checkpoints.known is None
    assert asked.checkpoints._asked.is_set()


async def test_other_topics_change_nothing() -> None:
    asked = Asked()
    await asked.read(p0=3)
    asked.checkpoints.told(told(0, 9, topic="incident-intake"))
    assert asked.checkpoints.known == {0: 3}
    assert not asked.checkpoints._asked.is_set()


async def test_an_answer_that_is_older_than_a_notification_does_not_undo_it() -> None:
    asked = Asked()
    await asked.read(p0=3, p1=3)
    reading = asyncio.create_task(asked.checkpoints.read())
    await asyncio.sleep(0)
    asked.checkpoints.told(told(0, 9))
    asked.answers.put_nowait({0: 4, 1: 6})
    await reading
    assert asked.checkpoints.known == {0: 9, 1: 6}
    await asked.read(p0=8, p1=6)
    assert asked.checkpoints.known == {0: 8, 1: 6}, "a later answer is the truth, whatever it says"
    asked.checkpoints.told(told(1, 7))
    assert asked.checkpoints.known == {0: 8, 1: 7}, "what was told before the answer is not said again"
