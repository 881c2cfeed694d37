"""Server-sent events (WHATWG HTML, section 9.2), lean enough for ten thousand idle clients.

Each event's ``id`` is its ``tenantsequence``. A heartbeat is a comment with an ``id`` and no data: a client dispatches
nothing for it, but remembers the id, so that a stream whose filter lets little through resumes from where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.auth import Authenticator, Unavailable, credential
from api.errors import database_unavailable
from api.live.batch import Batch
from api.live.events import RecordedEvent
from api.live.fanout import TooManySubscribers
from api.live.follow import Followed, Reset
from api.live.subscription import SlowSubscriber, Stopping
from api.problems import Problem
from streams.runtime import metrics

RETRY_MS = 1_000
_OPENING = f"retry: {RETRY_MS}\n\n".encode()
_log = structlog.get_logger(__name__)

Stream = AsyncGenerator[Followed | Reset, None]


def render(item: Followed | Reset) -> bytes:
    """What is sent for one item of a stream."""
    if isinstance(item, Reset):
        return b'event: reset\nid: %d\ndata: {"reason":"%b"}\n\n' % (item.cursor, item.reason.encode())
    if not item.events:
        return b": checkpoint\nid: %d\n\n" % item.cursor
    rendered = item.events.once(blocks, blocks)
    if item.cursor > item.events[-1].tenantsequence:
        rendered += b": checkpoint\nid: %d\n\n" % item.cursor
    return rendered


def blocks(events: Batch) -> bytes:
    """Events as they are sent."""
    return b"".join(event.once(block) for event in events)


def block(event: RecordedEvent) -> bytes:
    """An event as it is sent."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (
        event.type.encode(),
        event.tenantsequence,
        orjson.dumps(event.document),
    )


class EventStream(Response):
    """A stream of one authenticated client, which ends with its token, its patience or the process."""

    media_type = "text/event-stream"

    def __init__(
        self, stream: Stream, authenticator: Authenticator, authorization: str, *, send_timeout_s: float
    ) -> None:
        self._stream = stream
        self._authenticator = authenticator
        self._credential = credential(authorization)
        self._send_timeout_s = send_timeout_s
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves or must go; a problem before the first item is a problem document."""
        async with aclosing(self._stream) as stream:
            try:
                first = await anext(stream)
            except TooManySubscribers:
                problem = Problem(503, "too-many-streams", "Too many streams", retry_after_s=5)
                await problem.response()(scope, receive, send)
                return
            except Unavailable as error:
                await database_unavailable(str(error)).response()(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.create_task(self._send_all(_OPENING + render(first), stream, send))
            leaving = asyncio.create_task(_left(receive))
            try:
                await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                leaving.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, opening: bytes, stream: Stream, send: Send) -> None:
        try:
            await self._send(send, opening)
            async for item in stream:
                await self._authenticator.check(self._credential)
                await self._send(send, render(item))
        except (SlowSubscriber, TimeoutError):
            metrics.API_SLOW_SUBSCRIBERS.inc()
            return  # without the end of the body: the server closes the connection, the client comes back
        except (Problem, Unavailable, Stopping, TooManySubscribers) as error:
            _log.info("stream ended", reason=str(error))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
