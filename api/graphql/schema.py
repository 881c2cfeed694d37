"""The GraphQL schema with its limits; ``schema.graphql`` beside this file is its committed SDL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import strawberry
import structlog
from graphql import GraphQLError
from strawberry.extensions import (
    AddValidationRules,
    MaskErrors,
    MaxAliasesLimiter,
    MaxTokensLimiter,
    ParserCache,
    QueryDepthLimiter,
    ValidationCache,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext, ExecutionResult, StreamExecutionResult

from api.auth import Unavailable
from api.errors import database_unavailable
from api.graphql.mutations import Mutation
from api.graphql.queries import Query
from api.graphql.sharing import SharedExecution
from api.graphql.subscriptions import Subscription
from api.problems import Problem

MAX_DEPTH = 6
MAX_ALIASES = 20
MAX_TOKENS = 2_000
_log = structlog.get_logger(__name__)


class ProblemErrors(MaskErrors):
    """Problems become errors with their code; what nobody foresaw is logged and masked."""

    def __init__(self) -> None:
        super().__init__(should_mask_error=lambda error: error.original_error is not None)

    def on_stream_result(self, result: StreamExecutionResult) -> Iterator[None]:
        """Look at what has errors: to find out by the library's protocol takes a tenth of a delivery's time."""
        if isinstance(result, ExecutionResult) and not result.errors:
            yield
        else:
            yield from super().on_stream_result(result)

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        """The error as clients see it."""
        original = error.original_error
        if isinstance(original, GraphQLError):
            return original
        problem = database_unavailable(str(original)) if isinstance(original, Unavailable) else original
        if not isinstance(problem, Problem):
            _log.error("unexpected error in a resolver", path=error.path, exc_info=original)
            return super().anonymise_error(error)
        return GraphQLError(
            f"{problem.title}: {problem.detail}" if problem.detail else problem.title,
            nodes=error.nodes,
            source=error.source,
            positions=error.positions,
            path=error.path,
            extensions={"code": problem.code, "status": problem.status, **problem.extensions},
        )


_LIMITS = [
    *QueryDepthLimiter(max_depth=MAX_DEPTH).validation_rules,
    *MaxAliasesLimiter(max_alias_count=MAX_ALIASES).validation_rules,
]
"""Made once: a document that was valid by other rules, newly made ones too, is validated again."""


class Schema(strawberry.Schema):
    """A schema that leaves logging to ``ProblemErrors``: a client's mistake is not worth a traceback."""

    def process_errors(self, errors: Sequence[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing here."""


schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[
        lambda: AddValidationRules(_LIMITS),
        lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS),
        ParserCache,
        ValidationCache,
        ProblemErrors,
    ],
    execution_context_class=SharedExecution,
    config=StrawberryConfig(auto_camel_case=True),
)
