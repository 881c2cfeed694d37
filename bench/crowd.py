"""A thousand subscribers in one process that costs next to nothing while it is measured.

Each is a plain socket. What comes is kept with the time at which it came, and read as SSE or WebSocket only when the
measurement is over, byte by byte as a client would; meanwhile only WebSocket pings are looked for, and answered.
"""

from __future__ import annotations

import base64
import multiprocessing
import os
import resource
import selectors
import socket
import time
import uuid
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal

import orjson

from bench.http import request
from bench.streams import QUERY, Arrivals, note
from infra.torture.tenants import Tenant

Kind = Literal["sse", "websocket"]
_AT_ONCE = 2**18
_FILES = 20_000
_PATIENCE_S = 60.0
_PING, _TEXT, _CLOSE = 0x9, 0x1, 0x8
_TWO_BYTES = 126


@dataclass(frozen=True, slots=True)
class Watched:
    """What each subscriber got and in how many messages, how many streams the server ended, and the CPU seconds."""

    arrivals: Sequence[Arrivals]
    messages: int
    ended: int
    cpu_s: float


@dataclass(slots=True)
class Subscriber:
    """A stream: its bytes behind the opening, how many of them had come at which time, and how far they are frames."""

    kind: Kind
    socket: socket.socket
    raw: bytearray = field(default_factory=bytearray)
    marks: list[tuple[int, float]] = field(default_factory=list)
    walked: int = 0
    messages: int = 0

    def take(self) -> bool:
        """Keep what has come; whether the stream goes on."""
        found = self.socket.recv(_AT_ONCE)
        self.raw += found
        self.marks.append((len(self.raw), time.monotonic()))
        return bool(found) and (self.kind == "sse" or self._answer_pings())

    def _answer_pings(self) -> bool:
        """Look at the frames that are complete; whether none of them closes the stream."""
        for opcode, begin, end in frames(self.raw, self.walked):
            self.walked = end
            if opcode == _PING:
                self.socket.sendall(masked(0xA, bytes(self.raw[begin:end])))
            elif opcode == _CLOSE:
                return False
        return True

    def arrivals(self) -> Arrivals:
        """When each alert was there: its message was complete."""
        found: Arrivals = {}
        ends = [end for end, _ in self.marks]
        for end, data in self._sse() if self.kind == "sse" else self._websocket():
            if data is not None:
                self.messages += 1
                note(data, found, self.marks[bisect_left(ends, end)][1])
        return found

    def _sse(self) -> Iterator[tuple[int, dict[str, object] | None]]:
        rest = b""
        for begin, end in chunks(self.raw):
            *blocks, rest = (rest + self.raw[begin:end]).split(b"\n\n")
            for one in blocks:
                for line in one.split(b"\n"):
                    if line.startswith(b"data: "):
                        yield end, orjson.loads(line[6:])["data"]

    def _websocket(self) -> Iterator[tuple[int, dict[str, object] | None]]:
        for opcode, begin, end in frames(self.raw, 0):
            if opcode == _TEXT:
                message = orjson.loads(self.raw[begin:end])
                if message["type"] == "next":
                    event = message["payload"]["data"]["timelineEventAdded"]["event"]
                    yield end, event["data"] if event else None


def chunks(raw: bytearray) -> Iterator[tuple[int, int]]:
    """Where the data of each complete chunk begins and ends (RFC 9112, section 7.1)."""
    at = 0
    while (line := raw.find(b"\r\n", at)) >= 0:
        begin = line + 2
        end = begin + int(raw[at:line], 16)
        if end + 2 > len(raw) or end == begin:
            return
        yield begin, end
        at = end + 2


def frames(raw: bytearray, at: int) -> Iterator[tuple[int, int, int]]:
    """Opcode, begin and end of the payload of each complete frame from ``at`` on (RFC 6455, section 5.2)."""
    while at + 2 <= len(raw):
        begin, length = at + 2, raw[at + 1]
        if length >= _TWO_BYTES:
            begin += 2 if length == _TWO_BYTES else 8
            length = int.from_bytes(raw[at + 2 : begin], "big")
        end = begin + length
        if begin > len(raw) or end > len(raw):
            return
        yield raw[at] & 0xF, begin, end
        at = end


def masked(opcode: int, payload: bytes) -> bytes:
    """A frame of a client, whose mask is zero: valid, and the payload stays as it is."""
    length = len(payload)
    head = bytes([0x80 | length]) if length < _TWO_BYTES else bytes([0x80 | _TWO_BYTES]) + length.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


@contextmanager
def watching(port: int, tenant: Tenant, kinds: Sequence[Kind]) -> Iterator[Callable[[], Watched]]:
    """One stream of each kind, all open, in a process of its own; ends the watch when called, and says what came."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_watch, args=(port, tenant, kinds, theirs))
    process.start()
    theirs.close()

    def over() -> Watched:
        ours.send("over")
        found: Watched = ours.recv()
        return found

    try:
        ours.recv()
        yield over
    except EOFError as error:
        raise SystemExit("the subscribers' process has ended") from error
    finally:
        ours.close()
        process.join()


def _watch(port: int, tenant: Tenant, kinds: Sequence[Kind], parent: Connection) -> None:
    raise_limit()
    with selectors.DefaultSelector() as waiting:
        subscribers = [_opened(kind, port, tenant) for kind in kinds]
        for one in subscribers:
            waiting.register(one.socket, selectors.EVENT_READ, one)
        waiting.register(parent, selectors.EVENT_READ)
        before, ended = _cpu_s(), 0
        parent.send("begun")
        while not parent.poll():
            for key, _ in waiting.select():
                if key.data is not None and not key.data.take():
                    ended += 1
                    waiting.unregister(key.fileobj)
        used = _cpu_s() - before
    for one in subscribers:
        one.socket.close()
    arrivals = [one.arrivals() for one in subscribers]
    parent.send(Watched(arrivals, sum(one.messages for one in subscribers), ended, used))


def raise_limit() -> None:
    """As many open files as this process may have: a connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _opened(kind: Kind, port: int, tenant: Tenant) -> Subscriber:
    """A stream that has begun, with what came behind its opening."""
    connection = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
    authorization = {"Authorization": f"Bearer {tenant.viewer_token}"}
    if kind == "sse":
        connection.sendall(request("GET", "/api/v1/events/stream", authorization))
        _, rest = _until(connection, b"", b"\r\n\r\n", b" 200 ")
    else:
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": "graphql-transport-ws",
        }
        connection.sendall(request("GET", "/graphql", upgrade))
        _, rest = _until(connection, b"", b"\r\n\r\n", b" 101 ")
        connection.sendall(_message({"type": "connection_init", "payload": authorization}))
        _, rest = _until(connection, rest, b"}", b"connection_ack")
        payload = {"query": QUERY, "variables": {"after": None}}
        connection.sendall(_message({"id": str(uuid.uuid4()), "type": "subscribe", "payload": payload}))
    subscriber = Subscriber(kind, connection, bytearray(rest))
    subscriber.marks.append((len(rest), time.monotonic()))
    return subscriber


def _until(connection: socket.socket, found: bytes, end: bytes, wanted: bytes) -> tuple[bytes, bytes]:
    """What came up to ``end``, and what came behind it; ends the bench where ``wanted`` is not in the former."""
    while end not in found:
        if not (more := connection.recv(_AT_ONCE)):
            raise SystemExit(f"a stream ended: {found[:80]!r}")
        found += more
    head, _, rest = found.partition(end)
    if wanted not in head:
        raise SystemExit(f"a stream answers {head[:80]!r}")
    return head, rest


def _message(document: dict[str, object]) -> bytes:
    return masked(_TEXT, orjson.dumps(document))
