"""The library's ``graphql-transport-ws`` handler, which sends the bursts of a feed in one write each."""

from __future__ import annotations

from contextlib import aclosing
from typing import cast

import orjson
from starlette.websockets import WebSocketDisconnect
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import Message

from api.frames import send_texts
from api.graphql.context import Context
from api.graphql.sharing import Answers


class TransportHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """Everything of the protocol is the library's, but for the messages of a feed: a ``next`` for each payload."""

    async def send_message(self, message: Message) -> None:
        """Send a message; one whose data is ``Answers`` stands for all messages of its feed."""
        if message["type"] == "next":
            answers: object = message["payload"]["data"]
            if isinstance(answers, Answers):
                await self._send_all(message["id"], answers)
                return
        await super().send_message(message)

    async def _send_all(self, operation_id: str, answers: Answers) -> None:
        socket = cast("ASGIWebSocketAdapter", self.websocket).ws
        head = b'{"id":%b,"type":"next","payload":' % orjson.dumps(operation_id)
        async with aclosing(answers.tails()) as bursts:
            async for tails in bursts:
                try:
                    await send_texts(socket, head, tails)
                except WebSocketDisconnect as error:
                    raise WebSocketDisconnected from error
