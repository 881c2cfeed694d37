"""The HTTP server of one API process: uvicorn with uvloop and httptools."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from api.dependencies import Api
from api.frames import FramesProtocol
from api.settings import ApiSettings

_ANSWER_S = 1.0
"""How long an answer takes at most, once it is known."""


class Server(uvicorn.Server):
    """A server whose streams end when it is told to stop: their clients resume elsewhere and do not hold it up.

    ``failure`` says what only a new process mends; the server then stops by itself.
    """

    failure = ""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal is answered by an orderly end with status 0: uvicorn would raise it again after that."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop: asked by uvicorn ten times a second."""
        app = self.config.app
        if isinstance(app, FastAPI) and hasattr(app.state, "api"):
            parts: Api = app.state.api
            self.failure = parts.live.failure or parts.producer.fatal_error
        return bool(self.failure) or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, end the streams, let requests finish.

        What still waits for Kafka a second before the end is answered 503, and 202 when it waits for a command that is
        in Kafka: uvicorn would cancel it (see ``Answered``).
        """
        app = self.config.app
        if isinstance(app, FastAPI) and hasattr(app.state, "api"):
            parts: Api = app.state.api
            parts.live.fanout.stop()
            before_the_end_s = max(0.0, parts.settings.graceful_stop_s - _ANSWER_S)
            for waited_for in (parts.producer, parts.commands):
                asyncio.get_running_loop().call_later(before_the_end_s, waited_for.give_up)
        await super().shutdown(sockets)


def server(app: FastAPI, settings: ApiSettings) -> Server:
    """A server that is not started yet; SIGTERM stops it within ``graceful_stop_s``."""
    return Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            ws=FramesProtocol,
            ws_max_size=settings.max_body_bytes,
            ws_per_message_deflate=False,  # for each message a tenth of its cost, for each client a window in memory
            ws_ping_interval=settings.heartbeat_s,
            ws_ping_timeout=settings.send_timeout_s,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=4096,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=settings.graceful_stop_s,
        )
    )
