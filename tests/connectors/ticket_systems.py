"""A running fake with the connector of its system, as tests of files and links use them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from connectors.kit.file_attempt import FileAttempt, Store
from connectors.kit.files import Files, TicketFile
from streams.domain.outputs import Intent
from streams.runtime.object_storage import StorageUnavailable, UnknownObject
from tests.connectors.ticket_system import Linked

MOST = 1_000_000
CONTENT = b"\x00\r\n--x\r\n\xff" * 100


@dataclass
class Held:
    """Object storage in memory, which may be away; the real one is behind it in the whole-way test."""

    objects: dict[str, bytes] = field(default_factory=dict)
    away: bool = False

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store."""
        self._check(tenant_id)
        digest = hashlib.sha256(content).hexdigest()
        self.objects[digest] = content
        return digest

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """Read."""
        self._check(tenant_id)
        if sha256 not in self.objects:
            raise UnknownObject(sha256)
        return self.objects[sha256]

    def _check(self, tenant_id: str) -> None:
        assert tenant_id == "acme"
        if self.away:
            raise StorageUnavailable("away")


@dataclass(frozen=True)
class System:
    """A ticket system with one ticket, and files kept in memory on our side."""

    name: str
    linked: Linked
    files: Files
    held: Held
    ticket: str
    by_hand: Callable[[str, bytes], str]
    take_away: Callable[[str], None]

    async def attempt(self, action: str, **about: str) -> Any:
        """One attempt at an intent about files."""
        intent = Intent("i1", "inc", self.name, "int_1", action, self.ticket, "i1", "e1", 1, payload=about)
        store = Store(self.held, MOST)  # type: ignore[arg-type]  # the same two methods
        return await FileAttempt(self.files, self.linked.http, self.linked.link, intent, store).make()

    async def upload(self, name: str = "größe 1.bin", content: bytes = CONTENT, **more: str) -> Any:
        """An attempt at uploading."""
        digest = await self.held.put("acme", content)
        about = {"file_name": name, "media_type": "image/png", "size": str(len(content)), "sha256": digest}
        return await self.attempt("ticket_attach", **{"attachment_id": "a1", **about, **more})

    async def there(self) -> list[TicketFile]:
        """The files of the ticket."""
        found = await self.files.list_files(self.linked.http, self.linked.link, self.ticket)
        assert isinstance(found, list)
        return found

    def counted(self, call: str) -> int:
        """How often a call was made."""
        return int(self.linked.effects()["calls"].get(call, 0))
