"""GraphQL over HTTP, WebSocket (graphql-transport-ws) and server-sent events (graphql-sse)."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import orjson
from cross_web import HTTPException
from fastapi import Request
from strawberry.exceptions import ConnectionRejectionError
from strawberry.fastapi import GraphQLRouter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types.unset import UNSET

from api.body import parse_json
from api.graphql.context import Context
from api.graphql.schema import schema
from api.graphql.transport import TransportHandler
from api.problems import Problem

_INIT_TIMEOUT = timedelta(seconds=10)


class Router(GraphQLRouter[Context, None]):
    """Strawberry's router, with strict JSON, problems for what is refused before execution, and tokens first."""

    graphql_transport_ws_handler_class = TransportHandler

    def decode_json(self, data: str | bytes) -> object:
        """JSON as strict as everywhere else; raises ``JSONDecodeError``, which both transports answer."""
        try:
            return parse_json(data if isinstance(data, bytes) else data.encode())
        except (Problem, UnicodeEncodeError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error

    def encode_json(self, data: object) -> str:
        """JSON of an answer or a message: what resolvers return, or JSON already."""
        return orjson.dumps(data).decode()

    async def on_ws_connect(self, context: Context) -> Any:
        """Check the token of the handshake or of ``connection_init`` before anything is executed."""
        try:
            await context.principal()
        except Problem as error:
            raise ConnectionRejectionError({"code": error.code}) from error
        return UNSET

    async def run(self, request: Any, context: Any = UNSET, root_value: Any = UNSET) -> Any:
        """Answer a request; an HTTP request other than for the IDE's page must carry a token."""
        if isinstance(request, Request):
            if not self._asks_for_ide(request):
                await context.principal()
            try:
                return await super().run(request, context, root_value)
            except HTTPException as error:
                raise _problem(error) from error
        return await super().run(request, context, root_value)

    def _asks_for_ide(self, request: Request) -> bool:
        return (
            self.graphql_ide is not None
            and request.method == "GET"
            and "query" not in request.query_params
            and "text/html" in request.headers.get("accept", "")
        )


def _problem(error: HTTPException) -> Problem:
    status = 415 if "content type" in error.reason.lower() else error.status_code
    return Problem(status, "graphql-request", "Not a GraphQL request that can be answered", error.reason)


async def _context() -> Context:
    return Context()


def graphql_router(*, graphiql: bool) -> Router:
    """The router of ``/graphql``; ``graphiql`` serves the IDE there."""
    return Router(
        schema,
        graphql_ide="graphiql" if graphiql else None,
        context_getter=_context,
        subscription_protocols=(GRAPHQL_TRANSPORT_WS_PROTOCOL, "graphql-sse"),
        connection_init_wait_timeout=_INIT_TIMEOUT,
        max_subscriptions_per_connection=50,
    )
