"""Many WebSocket messages in one write, as an extension of ASGI that our server offers.

By ASGI each message is sent, framed and written alone, which costs more than all else that is done for it. A server's
frame is neither masked nor, here, compressed (RFC 6455, section 5), so that it is made with two slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.websockets import WebSocket
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import OPEN

EXTENSION = "incidents.frames"
_FINAL_TEXT = 0x81
_TWO_BYTES, _EIGHT_BYTES = 126, 127
_SHORT, _MEDIUM = 125, 0xFFFF


class FramesProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, which also takes ``websocket.send`` with ``frames``: bytes to write as they are."""

    def handle_connect(self, event: Request) -> None:
        """Say to the application that frames may be sent."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = {}

    async def send(self, message: Any) -> None:
        """Write frames once the client takes them; raises ``ClientDisconnected`` when it has left."""
        frames = message.get("frames")
        if frames is None:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.transport.is_closing() or self.close_sent or self.conn.state is not OPEN:
            raise ClientDisconnected
        self.transport.write(frames)


async def send_texts(socket: WebSocket, head: bytes, tails: Sequence[bytes]) -> None:
    """Send text messages, each ``head`` and one of ``tails``, in one write where the server can.

    Raises ``WebSocketDisconnect`` when the client has left.
    """
    if EXTENSION in socket.scope.get("extensions", {}):
        await socket.send({"type": "websocket.send", "frames": framed(head, tails)})
    else:
        for tail in tails:
            await socket.send_text((head + tail).decode())


def framed(head: bytes, tails: Sequence[bytes]) -> bytes:
    """Text frames of a server, one for each of ``tails`` behind ``head`` (RFC 6455, section 5.2)."""
    parts: list[bytes] = []
    before = len(head)
    for tail in tails:
        length = before + len(tail)
        if length <= _SHORT:
            begin = bytes((_FINAL_TEXT, length))
        elif length <= _MEDIUM:
            begin = bytes((_FINAL_TEXT, _TWO_BYTES, length >> 8, length & 0xFF))
        else:
            begin = bytes((_FINAL_TEXT, _EIGHT_BYTES)) + length.to_bytes(8, "big")
        parts += (begin, head, tail)
    return b"".join(parts)
