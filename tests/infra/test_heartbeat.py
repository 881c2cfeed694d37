"""The heartbeat is sent while all is well, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr, ValidationError

from infra.local.heartbeat import HeartbeatSettings, beat, refused


@dataclass
class Answers:
    """An HTTP server that answers every request with one status and counts them."""

    status: int = 200
    port: int = 0
    paths: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while (line := await reader.readline()) and line.strip():
                if line.startswith(b"GET"):
                    self.paths.append(line.split()[1].decode())
                elif line.lower().startswith(b"user-agent"):
                    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self.status)
                    break


@asynccontextmanager
async def answering(status: int = 200) -> AsyncIterator[Answers]:
    """A server on a free port."""
    answers = Answers(status)
    async with await asyncio.start_server(answers.serve, "127.0.0.1", 0) as server:
        answers.port = server.sockets[0].getsockname()[1]
        yield answers


@asynccontextmanager
async def beating(url: str, *ports: int) -> AsyncIterator[list[str]]:
    """A heartbeat every 20 ms; gives what it says."""
    settings, stopping = HeartbeatSettings(url=SecretStr(url), every_s=0.02), asyncio.Event()
    said: list[str] = []
    task = asyncio.create_task(beat(settings, ports, stopping, said.append))
    try:
        yield said
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the servers here have no events
            await asyncio.sleep(0.01)


async def test_the_url_is_called_while_every_process_is_ready() -> None:
    async with answering() as process, answering() as watcher:
        async with beating(f"http://127.0.0.1:{watcher.port}/ping/secret", process.port) as said:
            await until(lambda: len(watcher.paths) >= 3)
            assert said == []
        assert set(watcher.paths) == {"/ping/secret"}
        assert set(process.paths) == {"/health/ready"}


async def test_it_is_not_called_while_one_is_not_ready_and_again_once_it_is() -> None:
    async with (
        answering() as ready,
        answering(503) as broken,
        answering() as watcher,
        beating(f"http://127.0.0.1:{watcher.port}/ping", ready.port, broken.port) as said,
    ):
        await until(lambda: len(broken.paths) >= 3)
        assert watcher.paths == []
        assert said == [f"heartbeat: not sent, not ready: port {broken.port}"]
        broken.status = 200
        await until(lambda: watcher.paths)
        await until(lambda: said[-1] == "heartbeat: all is well")


async def test_a_url_that_fails_is_said_once_without_the_url() -> None:
    async with answering() as process, answering(500) as watcher:
        async with beating(f"http://127.0.0.1:{watcher.port}/ping/secret", process.port) as said:
            await until(lambda: len(watcher.paths) >= 3)
        assert said == ["heartbeat: the URL answers 500"]


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/x", "http://localhost/x", "file:///etc/passwd", "https://", "http://[bad"]
)  # fmt: skip
def test_other_addresses_are_refused_without_repeating_them(url: str) -> None:
    assert refused(url)
    with pytest.raises(ValidationError) as raised:
        HeartbeatSettings(url=SecretStr(url))
    assert url not in raised.value.errors(include_input=False)[0]["msg"]


@pytest.mark.parametrize("url", ["", "https://example.org/ping/x", "http://127.0.0.1:8000/x", "http://[::1]/x"])
def test_allowed_addresses(url: str) -> None:
    assert refused(url) == ""
