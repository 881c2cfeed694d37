"""One execution for all subscribers who ask the same of the same event: a dashboard that is open on a thousand screens.

What a subscription makes of an event is a function of its document, its variables and the event, as long as no field of
the payload asks the context for anything. Payloads of which that is true are ``Shareable``; others are executed for
each subscriber, as ever.
"""

from __future__ import annotations

from typing import Any

from graphql import ExecutionResult, FieldNode, OperationDefinitionNode, VariableNode
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

_DEFINED_AND_USED = 2


class Shareable:
    """A payload that every subscriber of an event gets, with the answers to what was asked of it so far."""

    def answers(self) -> dict[object, Any]:
        """Execution results by what was asked: the same dictionary each time."""
        raise NotImplementedError


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
        if not isinstance(payload, Shareable):
            return super().execute_operation(serially)
        answers = payload.answers()
        found = answers.get(self.question)
        if found is None:
            found = super().execute_operation(serially)
            if isinstance(found, ExecutionResult) and not found.errors:
                answers[self.question] = found
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
