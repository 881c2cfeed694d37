"""The bytes of a fake's files, and files as forms send them."""

from __future__ import annotations

import base64
import re

from infra.fakes.store import Store

_KIND = "content"


def keep(store: Store, id_: str, content: bytes) -> None:
    """Keep the bytes of a file."""
    store.put(_KIND, id_, {"base64": base64.b64encode(content).decode()})


def kept(store: Store, id_: str) -> bytes:
    """The bytes of a file; none for one that is not there."""
    found = store.get(_KIND, id_)
    return base64.b64decode(found["base64"]) if found else b""


def forget(store: Store, id_: str) -> None:
    """Delete the bytes of a file."""
    store.delete(_KIND, id_)


def part(content_type: str, body: bytes, name: str) -> tuple[str, str, bytes] | None:
    """File name, media type and bytes of the part ``name`` of a form (RFC 7578); none where there is no such part."""
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if found is None:
        return None
    for piece in body.split(b"--" + found[1].encode())[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        shown = head.decode()
        if f'name="{name}"' in shown and (file_name := re.search(r'filename="([^"]*)"', shown)):
            media_type = re.search(r"(?i)^content-type: *(.+?)\r?$", shown, re.MULTILINE)
            return file_name[1], media_type[1] if media_type else "", content.removesuffix(b"\r\n")
    return None
