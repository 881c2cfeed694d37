"""Load from processes of its own: requests are made first, then all processes begin at once.

Closed loop: each connection sends its next request when the last was answered; what is answered 503 is sent again after
the ``Retry-After``. Open loop: each request has its due time, and its latency counts from there, whether or not it
could be sent by then (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.http import Connection

OVERLOADED = 503
START_S = 300.0
_start: Any = None


@dataclass(slots=True)
class Sent:
    """What one load process did; times are of the monotonic clock, which all processes share."""

    began: float = 0.0
    ended: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    last: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[bytes]] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    """When each accepted id was due, where answers are kept."""

    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stream:
    """The requests of one sender, one after the other over each of its connections."""

    name: str
    port: int
    requests: Sequence[bytes]
    connections: int = 1
    rate: float = 0.0
    """Requests a second in an open loop; 0: closed loop."""


Make = Callable[[], Sequence[Stream]]


class Load:
    """Processes that wait for ``go``: one for each function that makes streams (functions must be picklable)."""

    def __init__(self, makes: Sequence[Make], *, keep_answers: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self._barrier = context.Barrier(len(makes) + 1)
        self._pool = ProcessPoolExecutor(
            len(makes), mp_context=context, initializer=_initialize, initargs=(self._barrier,)
        )
        self._sent: list[Future[Sent]] = [self._pool.submit(_run, make, keep_answers) for make in makes]

    def go(self) -> None:
        """Begin; returns at once."""
        self._barrier.wait(START_S)

    def done(self) -> list[Sent]:
        """Wait for all of them."""
        try:
            return [sent.result() for sent in self._sent]
        finally:
            self._pool.shutdown(wait=False)  # their end belongs to no measurement


def _initialize(barrier: Any) -> None:
    global _start  # noqa: PLW0603  how a pool's processes are given what cannot be pickled
    _start = barrier


def _run(make: Make, keep_answers: bool) -> Sent:  # noqa: FBT001  called by the pool alone
    streams = make()
    return asyncio.run(_send(streams, keep_answers=keep_answers))


async def _send(streams: Sequence[Stream], *, keep_answers: bool) -> Sent:
    sent = Sent()
    senders = [
        (stream, await Connection.open(stream.port), list(stream.requests[n :: stream.connections]), n)
        for stream in streams
        for n in range(stream.connections)
    ]
    await asyncio.to_thread(_start.wait, START_S)
    before, sent.began = os.times(), time.monotonic()
    await asyncio.gather(*(_one(sent, *sender, keep_answers=keep_answers) for sender in senders))
    sent.ended, after = time.monotonic(), os.times()
    sent.cpu_s = after.user + after.system - before.user - before.system
    for _, connection, _, _ in senders:
        connection.close()
    return sent


async def _one(
    sent: Sent, stream: Stream, connection: Connection, requests: Sequence[bytes], number: int, *, keep_answers: bool
) -> None:
    clock = time.monotonic
    answers = sent.answers.setdefault(stream.name, [])
    for position, request in enumerate(requests):
        due = clock()
        if stream.rate:
            due = sent.began + (position * stream.connections + number) / stream.rate
            await asyncio.sleep(max(0.0, due - clock()))
        while True:
            answer = await connection.send(request)
            sent.statuses[answer.status] += 1
            if answer.status != OVERLOADED:
                break
            await asyncio.sleep(answer.retry_after_s)
            due = due if stream.rate else clock()
        sent.latencies.append(clock() - due)
        if keep_answers:
            answers.append(answer.body)
            if stream.rate:
                sent.due.update(dict.fromkeys(orjson.loads(answer.body)["ids"], due))
        sent.last[stream.name] = answer.body
