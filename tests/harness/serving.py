"""A real HTTP server for an ASGI application, for as long as a test needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn


@dataclass(frozen=True, slots=True)
class Serving:
    """Where it is."""

    url: str

    async def post(self, path: str, document: Any) -> httpx.Response:
        """One JSON request."""
        async with httpx.AsyncClient(base_url=self.url) as client:
            return await client.post(path, json=document)


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[Serving]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110  the server has no event for it
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Serving(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
