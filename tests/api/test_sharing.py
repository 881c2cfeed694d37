"""What tells two subscriptions apart: everything that an answer depends on, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from graphql import OperationDefinitionNode, parse
from strawberry.types import get_object_definition

from api.graphql import subscriptions
from api.graphql.schema import schema
from api.graphql.sharing import Answers, Burst, Shareable, question
from api.graphql.subscriptions import BoardUpdate, IncidentUpdate, TimelineUpdate
from api.graphql.types import TimelineEvent
from api.live.events import RecordedEvent
from api.problems import Problem
from streams.domain.envelope import Envelope

PLAIN = "subscription ($after: String) { timelineEventAdded(after: $after) { cursor } }"
SHOWN = "subscription ($after: String!) { timelineEventAdded(after: $after) { cursor @include(if: $after) } }"


def asked(text: str, **variables: Any) -> object:
    [operation] = parse(text).definitions
    assert isinstance(operation, OperationDefinitionNode)
    return question(operation, variables)


def test_where_a_stream_began_does_not_tell_subscribers_apart() -> None:
    assert asked(PLAIN, after="1") == asked(PLAIN, after="2")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (asked(PLAIN), asked(PLAIN.replace("cursor", "reset"))),
        (asked(SHOWN, after="1"), asked(SHOWN, after="2")),
        (asked(PLAIN, after="1", types=["a"]), asked(PLAIN, after="1", types=["b"])),
        (asked(PLAIN.replace("(", " A(", 1)), asked(PLAIN.replace("(", " B(", 1))),
        (asked(PLAIN.replace("$after", "$from"), after="1"), asked(PLAIN.replace("$after", "$from"), after="2")),
    ],
    ids=["fields", "a cursor used for more", "another variable", "operation", "a variable that is no cursor"],
)
def test_whatever_else_differs_tells_them_apart(one: object, other: object) -> None:
    assert one != other


def test_an_event_has_one_update_for_all() -> None:
    event = RecordedEvent(Envelope("1", "/x", "t", "acme", tenantsequence=7), None, {})
    assert event.once(TimelineUpdate.of) is event.once(TimelineUpdate.of)


def test_no_field_of_what_is_shared_asks_who_the_subscriber_is() -> None:
    asked = {TimelineUpdate, TimelineEvent}
    for kind in asked:
        for field in get_object_definition(kind, strict=True).fields:
            assert field.base_resolver is None, f"{kind.__name__}.{field.name} is worked out for each subscriber"


def test_payloads_that_are_not_shareable_are_executed_for_each() -> None:
    assert issubclass(TimelineUpdate, Shareable)
    assert not issubclass(IncidentUpdate, Shareable)
    assert not issubclass(BoardUpdate, Shareable)


async def followed(
    monkeypatch: pytest.MonkeyPatch, bursts: AsyncGenerator[Burst, None], *, is_socket: bool
) -> tuple[list[Any], list[str]]:
    """What a subscription of the cursors of these bursts sends, and the errors that it ends with."""

    async def selection(*_: object) -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(subscriptions, "_selection", selection)
    monkeypatch.setattr(subscriptions, "_timeline", lambda *_: bursts)
    context = SimpleNamespace(is_socket=is_socket)
    found = await schema.subscribe("subscription { timelineEventAdded { cursor } }", context_value=context)
    sent, errors = [], []
    async for result in cast("AsyncIterator[Any]", found):
        if isinstance(result.data, Answers):
            sent += [tail async for tails in result.data.tails() for tail in tails]
        elif result.data is not None:
            sent.append(result.data)
        errors += [(error.extensions or {}).get("code", error.message) for error in result.errors or ()]
    return sent, errors


async def three(last: Exception | None = None) -> AsyncGenerator[Burst, None]:
    yield Burst([TimelineUpdate(cursor="1"), TimelineUpdate(cursor="2")])
    if last is not None:
        raise last
    yield Burst([TimelineUpdate(cursor="3")])


async def test_a_socket_is_given_a_feed_and_others_each_update(monkeypatch: pytest.MonkeyPatch) -> None:
    tails, none = await followed(monkeypatch, three(), is_socket=True)
    assert tails == [b'{"data":{"timelineEventAdded":{"cursor":"%d"}}}}' % number for number in (1, 2, 3)]
    updates, neither = await followed(monkeypatch, three(), is_socket=False)
    assert updates == [{"timelineEventAdded": {"cursor": str(number)}} for number in (1, 2, 3)]
    assert none == neither == []


@pytest.mark.parametrize("is_socket", [True, False])
async def test_what_ends_a_stream_early_is_told_behind_what_came_before(
    monkeypatch: pytest.MonkeyPatch, *, is_socket: bool
) -> None:
    bursts = three(Problem(503, "slow-subscriber", "Cut off"))
    sent, errors = await followed(monkeypatch, bursts, is_socket=is_socket)
    assert (len(sent), errors) == (2, ["slow-subscriber"])


async def test_an_update_that_cannot_be_answered_ends_the_feed_and_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> AsyncGenerator[Burst, None]:
        yield Burst([TimelineUpdate(cursor="1")])
        yield Burst([TimelineUpdate(cursor=cast("str", None))])
        yield Burst([TimelineUpdate(cursor="3")])

    sent, errors = await followed(monkeypatch, broken(), is_socket=True)
    assert (len(sent), errors) == (1, ["Unexpected error."])


def test_a_burst_is_answered_once_for_each_question() -> None:
    asked: list[str] = []

    class Execution:
        def __init__(self, question: str) -> None:
            self.question = question

        def answer(self, update: TimelineUpdate) -> SimpleNamespace:
            asked.append(f"{self.question} {update.cursor}")
            return SimpleNamespace(tail=f"{self.question}{update.cursor}".encode())

    burst = Burst([TimelineUpdate(cursor="1"), TimelineUpdate(cursor="2")])
    for text in ("a", "b", "a"):
        assert burst.tails(cast("Any", Execution(text))) == [f"{text}1".encode(), f"{text}2".encode()]
    assert asked == ["a 1", "a 2", "b 1", "b 2"]
