"""Files of the model's tickets, and ours in memory: no digest, every upload makes another one, calls that stop."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.kit.contract import Integration
from connectors.kit.files import TicketFile
from connectors.kit.http import ProviderHttp, Upload
from connectors.kit.outcome import Gone, PermanentFailure, TooLarge, TransientFailure
from connectors.kit.tickets import FilesSeen
from streams.runtime.object_storage import UnknownObject
from tests.sync.provider import US, ModelTicket, Provider, pause


@dataclass
class Objects:
    """Object storage in memory."""

    held: dict[str, bytes] = field(default_factory=dict)

    def keep(self, content: bytes) -> str:
        """Store bytes; their digest."""
        digest = hashlib.sha256(content).hexdigest()
        self.held[digest] = content
        return digest

    async def put(self, tenant_id: str, content: bytes) -> str:
        """See ``AttachmentStorage``."""
        del tenant_id
        await pause()
        return self.keep(content)

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """See ``AttachmentStorage``."""
        del tenant_id
        await pause()
        if sha256 not in self.held:
            raise UnknownObject(sha256)
        return self.held[sha256]


@dataclass
class ModelFiles:
    """The files of a provider's tickets."""

    provider: Provider
    made: int = 0

    def add(self, external_id: str, name: str, content: bytes, by: str) -> str:
        """Put a file on a ticket; its id."""
        self.made += 1
        ticket = self.provider.tickets[external_id]
        ticket.files[f"f{self.made}"] = TicketFile(f"f{self.made}", name, "text/plain", len(content), by)
        ticket.contents[f"f{self.made}"] = content
        self._told(ticket)
        return f"f{self.made}"

    def take_away(self, external_id: str, file_id: str) -> None:
        """A person deletes a file."""
        ticket = self.provider.tickets[external_id]
        del ticket.files[file_id]
        self._told(ticket)

    def seen(self, ticket: ModelTicket) -> FilesSeen:
        """Which files a ticket has."""
        at = self.provider.clock if self.provider.versioning == "clock" else 0
        return FilesSeen(ticket.external_id, tuple(ticket.files), complete=True, at=at)

    def _told(self, ticket: ModelTicket) -> None:
        self.provider.webhooks.append(self.seen(ticket))

    async def list_files(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Sequence[TicketFile] | Gone | TransientFailure | PermanentFailure:
        """See ``Files``."""
        await pause()
        ticket = self.provider.tickets[external_id]
        found = Gone("deleted") if ticket.deleted else list(ticket.files.values())
        await pause()
        return found

    async def upload(
        self, http: ProviderHttp, integration: Integration, external_id: str, file: Upload
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """See ``Files``."""
        await pause()
        if self.provider.tickets[external_id].deleted:
            return Gone("deleted")
        self.provider.writes += 1
        made = self.add(external_id, file.file_name, file.content, US)
        await pause()
        return made

    async def download(
        self, http: ProviderHttp, integration: Integration, file_id: str, most: int
    ) -> bytes | Gone | TooLarge | TransientFailure | PermanentFailure:
        """See ``Files``."""
        await pause()
        for ticket in self.provider.tickets.values():
            if file_id in ticket.files and not ticket.deleted:
                content = ticket.contents[file_id]
                return content if len(content) <= most else TooLarge(f"more than {most} bytes")
        return Gone("deleted")
