"""The bench's subscribers read what came as a client would, whatever pieces it came in, and miss nothing."""

from __future__ import annotations

import socket
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from api.frames import framed
from bench.crowd import Kind, Subscriber, chunks, frames, masked


def alert(number: int) -> dict[str, object]:
    return {"alerts": [{"id": f"a{number}"}, {"id": f"b{number}"}]}


def blocks(number: int) -> bytes:
    data = orjson.dumps({"type": "t", "data": alert(number)})
    return b"event: t\nid: %d\ndata: %b\n\n: checkpoint\nid: %d\n\n" % (number, data, number)


def update(number: int) -> bytes:
    event = {"type": "t", "data": alert(number)}
    payload = {"data": {"timelineEventAdded": {"cursor": str(number), "event": event}}}
    return orjson.dumps({"id": "1", "type": "next", "payload": payload})


def read(kind: Kind, pieces: list[bytes]) -> Subscriber:
    """A subscriber to whom these pieces came, one after the other, at times 0, 1, 2 and so on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subscriber = Subscriber(kind, ours)
        for at, piece in enumerate(pieces):
            theirs.sendall(piece)
            assert subscriber.take()
            subscriber.marks[-1] = (subscriber.marks[-1][0], float(at))
    return subscriber


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(one % len(stream) for one in cuts)})
    return [stream[begin:end] for begin, end in pairwise(places)]


def all_are_found(kind: Kind, pieces: list[bytes]) -> None:
    """Both alerts of four messages, the last of them with the last piece."""
    subscriber = read(kind, pieces)
    found = subscriber.arrivals()
    assert set(found) == {f"{letter}{number}" for letter in "ab" for number in range(4)}
    assert found["b3"] == len(pieces) - 1
    assert subscriber.messages == 4


@given(st.lists(st.integers(0, 10_000), max_size=6))
def test_every_alert_of_an_sse_stream_counts_when_its_chunk_was_complete(cuts: list[int]) -> None:
    body = b"".join(blocks(number) for number in range(4))
    half = len(body) // 2 + 7  # a chunk ends within an event
    stream = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (body[:half], body[half:]))
    all_are_found("sse", cut(stream, cuts))


@given(st.lists(st.integers(0, 10_000), max_size=6))
def test_every_alert_of_a_websocket_counts_when_its_frame_was_complete(cuts: list[int]) -> None:
    ack = b'{"type":"complete","id":"0"}'
    stream = framed(b"", [ack, *(update(number) for number in range(4))])
    all_are_found("websocket", cut(stream, cuts))


def test_what_is_not_complete_does_not_count() -> None:
    stream = framed(b"", [update(0), update(1)])
    assert set(read("websocket", [stream[:-1]]).arrivals()) == {"a0", "b0"}
    chunk = blocks(0)
    assert not read("sse", [b"%x\r\n%b" % (len(chunk), chunk)]).arrivals()
    assert list(chunks(bytearray(b"5\r\nabcde\r\n0\r\n\r\n"))) == [(3, 8)]


def test_pings_are_answered_and_a_close_ends_the_stream() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subscriber = Subscriber("websocket", ours)
        theirs.sendall(b"\x89\x04ping")
        assert subscriber.take()
        assert theirs.recv(100) == b"\x8a\x84\0\0\0\0ping"
        theirs.sendall(b"\x88\x02\x03\xe8")
        assert not subscriber.take()


@pytest.mark.parametrize("length", [0, 125, 126, 65_535])
def test_frames_of_the_client_are_those_of_any_other(length: int) -> None:
    frame = Frame(Opcode.TEXT, b"x" * length).serialize(mask=True)
    ours = masked(Opcode.TEXT, b"x" * length)
    assert ours[: -4 - length] == frame[: -4 - length], "they differ in the mask alone"
    assert ours.endswith(b"x" * length)


@given(st.lists(st.binary(max_size=70_000), max_size=4))
def test_frames_of_the_server_are_found_as_they_were_made(payloads: list[bytes]) -> None:
    raw = bytearray(framed(b"", payloads))
    assert [bytes(raw[begin:end]) for _, begin, end in frames(raw, 0)] == payloads
