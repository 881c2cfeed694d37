"""One execution for all subscribers who ask the same of the same event: a dashboard that is open on a thousand screens.

What a subscription makes of an event is a function of its document, its variables and the event, as long as no field of
the payload asks the context for anything. Payloads of which that is true are ``Shareable``; others are executed for
each subscriber, as ever. Over a WebSocket shareable payloads come in a ``Feed``: the library's way from a payload to a
message is gone once for the feed, not once for each payload of each subscriber.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import orjson
from graphql import ExecutionResult, FieldNode, GraphQLError, OperationDefinitionNode, VariableNode
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.auth import Unavailable
from api.problems import Problem

_DEFINED_AND_USED = 2


@dataclass(frozen=True)
class Answer:
    """What one question about a payload gives."""

    result: ExecutionResult

    @cached_property
    def tail(self) -> bytes:
        """A ``next`` message (graphql-transport-ws) from its payload on."""
        return orjson.dumps({"data": self.result.data}) + b"}"


class Shareable:
    """A payload that every subscriber of an event gets, with the answers to what was asked of it so far."""

    def answers(self) -> dict[object, Answer]:
        """Answers by what was asked: the same dictionary each time."""
        raise NotImplementedError


class Burst:
    """Payloads that came together, one object for all who get the same, with the answers to what was asked so far."""

    def __init__(self, updates: Sequence[Shareable]) -> None:
        self.updates = updates
        self._tails: dict[object, list[bytes]] = {}

    def tails(self, execution: SharedExecution) -> list[bytes]:
        """The ``next`` messages from their payloads on; raises ``GraphQLError`` when an execution has an error."""
        found = self._tails.get(execution.question)
        if found is None:
            found = [execution.answer(update).tail for update in self.updates]
            self._tails[execution.question] = found
        return found


class Feed:
    """All payloads of one subscription, in bursts; ``failure`` is what ended it early."""

    def __init__(self, bursts: AsyncGenerator[Burst, None]) -> None:
        self.bursts = bursts
        self.failure: Problem | Unavailable | GraphQLError | None = None


class Answers:
    """What one subscription's question makes of a feed: in place of the data of an execution result."""

    def __init__(self, feed: Feed, execution: SharedExecution) -> None:
        self._feed = feed
        self._execution = execution

    async def tails(self) -> AsyncGenerator[list[bytes], None]:
        """The ``next`` messages from their payloads on; what ends the feed early is kept for its resolver."""
        try:
            async for burst in self._feed.bursts:
                yield burst.tails(self._execution)
        except (Problem, Unavailable, GraphQLError) as error:
            self._feed.failure = error


class SharedExecution(StrawberryGraphQLCoreExecutionContext):
    """Executes an operation on a payload once for each different question."""

    question: object = None

    def build_per_event_executor(self, payload: Any) -> Any:
        """For one event of a subscription; what tells it apart is found out once, and copied with the rest."""
        if self.question is None:
            self.question = question(self.operation, self.variable_values.coerced)
        return super().build_per_event_executor(payload)

    def execute_operation(self, serially: bool | None = None) -> Any:  # noqa: FBT001  as the library names it
        """The result for this event, perhaps that of another subscriber; an awaitable where fields need one."""
        payload = self.root_value
        if isinstance(payload, Feed):
            return ExecutionResult(data=cast("dict[str, Any]", Answers(payload, self)))
        if isinstance(payload, Shareable):
            return self.answer(payload).result
        return super().execute_operation(serially)

    def answer(self, payload: Shareable) -> Answer:
        """What is asked of a payload; raises the first error of an execution that has any."""
        answers = payload.answers()
        found = answers.get(self.question)
        if found is None:
            result = StrawberryGraphQLCoreExecutionContext.execute_operation(super().build_per_event_executor(payload))
            assert isinstance(result, ExecutionResult), "no field of what is shared waits for anything"
            if result.errors:
                raise result.errors[0]
            found = answers[self.question] = Answer(result)
        return found


def question(operation: OperationDefinitionNode, variables: dict[str, Any]) -> object:
    """What tells two subscriptions apart for an event: text, operation and variables, but not where they began.

    The cursor (``after``) decides which events a subscriber gets, not what it sees of them: a variable that is used
    for nothing else is left out.
    """
    text = operation.loc.source.body if operation.loc else ""
    began = {
        argument.value.name.value
        for field in operation.selection_set.selections
        if isinstance(field, FieldNode)
        for argument in field.arguments or ()
        if argument.name.value == "after" and isinstance(argument.value, VariableNode)
    }
    kept = [
        (name, repr(value))
        for name, value in sorted(variables.items())
        if name not in began or text.count(f"${name}") > _DEFINED_AND_USED
    ]
    return text, operation.name.value if operation.name else "", tuple(kept)
