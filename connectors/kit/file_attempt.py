"""Carries intents about files out safely: what may have been uploaded is looked for first, by name, size and digest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from connectors.kit import limits
from connectors.kit.contract import Integration
from connectors.kit.files import Files, TicketFile
from connectors.kit.http import ProviderHttp, Upload
from connectors.kit.outcome import Gone, PermanentFailure, TooLarge, TransientFailure
from streams.domain.outputs import Intent
from streams.domain.ticket_files import FileRequest, RemoteFile, file_request_of
from streams.runtime.attachment_storage import AttachmentStorage
from streams.runtime.object_storage import StorageUnavailable, UnknownObject


@dataclass(frozen=True, slots=True)
class FileReport:
    """What is at a ticket after an intent about files; see ``RecordFiles``."""

    files: tuple[RemoteFile, ...] = ()
    detail: str = ""


Result = FileReport | TransientFailure | PermanentFailure | Gone


TRANSFERS = 4
"""How many files one process holds in memory at a time."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where bytes are kept, how large a file may be that is brought here, and whose turn it is to carry one."""

    attachments: AttachmentStorage
    max_bytes: int
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TRANSFERS))


@dataclass(frozen=True, slots=True)
class FileAttempt:
    """One attempt at an intent; it looks before it uploads whichever attempt it is: a restore may have forgotten."""

    files: Files
    http: ProviderHttp
    integration: Integration
    intent: Intent
    store: Store | None

    async def make(self) -> Result:
        """Carry the intent out; never raises for anything that the provider, the network or the storage does."""
        try:
            request = file_request_of(self.intent.payload)
        except ValueError as error:
            return PermanentFailure(f"payload: {error}")
        if not self.intent.external_id:
            return PermanentFailure("no ticket to act on")
        match self.intent.action:
            case "ticket_list_files":
                return await self._list(request)
            case "ticket_attach" | "ticket_fetch" if self.store is None:
                return PermanentFailure("no object storage is set up")
            case "ticket_attach" | "ticket_fetch" as action if self.store is not None:
                async with self.store.turns:
                    carry = self._attach if action == "ticket_attach" else self._fetch
                    return await carry(request, self.store)
            case _:
                return PermanentFailure(f"there is no action {self.intent.action!r} of files")

    async def _list(self, request: FileRequest) -> Result:
        found = await self.files.list_files(self.http, self.integration, self.intent.external_id)
        if isinstance(found, Gone | TransientFailure | PermanentFailure):
            return found
        shown = partial(_shown, self.intent.connector)
        return FileReport(
            tuple(RemoteFile(one.external_id) if one.external_id in request.known else shown(one) for one in found)
        )

    async def _attach(self, request: FileRequest, store: Store) -> Result:
        found = await self.files.list_files(self.http, self.integration, self.intent.external_id)
        if isinstance(found, Gone | TransientFailure | PermanentFailure):
            return found
        there = _same(found, request)
        if there is not None:
            return FileReport((RemoteFile(there.external_id),), f"{request.file_name} is there from an earlier attempt")
        try:
            content = await store.attachments.get(self.integration.tenant_id, request.sha256)
        except UnknownObject:
            return PermanentFailure(f"{request.file_name}: its bytes were erased")
        except StorageUnavailable as error:
            return TransientFailure(error.detail, error.retry_after_s)
        file = Upload(request.file_name, request.media_type, content)
        made = await self.files.upload(self.http, self.integration, self.intent.external_id, file)
        if isinstance(made, str):
            return FileReport((RemoteFile(made),), request.file_name)
        return replace(made, reason=f"{request.file_name}: {made.reason}")

    async def _fetch(self, request: FileRequest, store: Store) -> Result:
        file = RemoteFile(request.file_id, request.file_name, request.media_type, request.size, request.actor)
        most = store.max_bytes
        if request.size > most:
            return _left(file, f"{request.size} bytes, at most {most} are taken")
        content = await self.files.download(self.http, self.integration, request.file_id, most)
        if isinstance(content, TooLarge):
            return _left(file, content.reason)
        if not isinstance(content, bytes):
            return content
        if not content:
            return _left(file, "the file is empty")
        try:
            digest = await store.attachments.put(self.integration.tenant_id, content)
        except StorageUnavailable as error:
            return TransientFailure(error.detail, error.retry_after_s)
        return FileReport((replace(file, size=len(content), sha256=digest),), request.file_name)


def _left(file: RemoteFile, why: str) -> FileReport:
    return FileReport((replace(file, problem=why),), f"{file.file_name}: {why}")


def _shown(connector: str, file: TicketFile) -> RemoteFile:
    actor = f"{connector}:{file.author}" if file.author else connector
    name = limits.text(file.file_name, limits.TITLE_CHARACTERS)
    return RemoteFile(limits.identity(file.external_id), name, limits.text(file.media_type), max(0, file.size), actor)


def _same(found: Iterable[TicketFile], request: FileRequest) -> TicketFile | None:
    """The file of an earlier attempt: same name and size, same digest where the provider gives one."""
    for one in found:
        is_like = (one.file_name, one.size) == (request.file_name, request.size)
        if is_like and one.external_id not in request.known and one.sha256 in {"", request.sha256}:
            return one
    return None


def digest_of(value: str) -> str:
    """A provider's digest where it is a SHA-256 in hexadecimal; empty for any other."""
    found = value.lower()
    is_digest = len(found) == hashlib.sha256().digest_size * 2 and set(found) <= set("0123456789abcdef")
    return found if is_digest else ""
