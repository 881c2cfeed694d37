"""What a ticket system's connector has to do about files: single calls; ``file_attempt`` makes safe ways of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.kit.contract import Integration
from connectors.kit.http import ProviderHttp, Upload
from connectors.kit.outcome import Gone, PermanentFailure, TooLarge, TransientFailure


@dataclass(frozen=True, slots=True)
class TicketFile:
    """A file at a ticket as its provider describes it; ``sha256`` in hexadecimal, empty where it gives none."""

    external_id: str
    file_name: str
    media_type: str
    size: int
    author: str = ""
    sha256: str = ""


class Files(Protocol):
    """The calls of a ticket system whose tickets have files. No method raises for the provider or the network."""

    async def list_files(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Sequence[TicketFile] | Gone | TransientFailure | PermanentFailure:
        """All files of a ticket, read from the database and not from an index."""

    async def upload(
        self, http: ProviderHttp, integration: Integration, external_id: str, file: Upload
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Put a file on a ticket; its id there. Each call makes another file."""

    async def download(
        self, http: ProviderHttp, integration: Integration, file_id: str, most: int
    ) -> bytes | Gone | TooLarge | TransientFailure | PermanentFailure:
        """The bytes of a file, from the integration's own host alone; ``TooLarge`` above ``most``."""
