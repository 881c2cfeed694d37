"""What tells two subscriptions apart: everything that an answer depends on, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import OperationDefinitionNode, parse
from strawberry.types import get_object_definition

from api.graphql.sharing import Shareable, question
from api.graphql.subscriptions import BoardUpdate, IncidentUpdate, TimelineUpdate
from api.graphql.types import TimelineEvent
from api.live.events import RecordedEvent
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
