"""The Attachment API (https://www.servicenow.com/docs, "Attachment API"): the files of incidents.

An instance limits sizes (``com.glide.attachment.max_size``) and types (``glide.attachment.extensions``) by itself; a
file that it refuses is refused for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.kit import limits
from connectors.kit.contract import Integration
from connectors.kit.file_attempt import digest_of
from connectors.kit.files import TicketFile
from connectors.kit.http import Answer, ProviderHttp, Upload
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, PermanentFailure, TooLarge, TransientFailure
from connectors.servicenow import polling, queries
from connectors.servicenow.authentication import Authentication
from connectors.servicenow.calls import Instance, gone
from connectors.servicenow.config import ServiceNowConfig
from connectors.servicenow.records import text, whole_number

_MOST = 1_000
"""Files of one record that are looked at."""


class ServiceNowFiles:
    """Files of the Table API's incidents; attaching one does not raise ``sys_mod_count``."""

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def list_files(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Sequence[TicketFile] | Gone | TransientFailure | PermanentFailure:
        """By the record's ``sys_id``."""
        answer = await self._instance(http, integration).call("GET", queries.files_of(external_id, _MOST))
        if not isinstance(answer, Answer):
            return answer
        found = [as_object(one) for one in polling.rows(answer)]
        return [file_of(one) for one in found if text(one.get("table_sys_id")) == external_id and one.get("sys_id")]

    async def upload(
        self, http: ProviderHttp, integration: Integration, external_id: str, file: Upload
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """One file a request, its bytes as the body."""
        path = queries.new_file(external_id, file.file_name)
        answer = await self._instance(http, integration).call("POST", path, upload=file)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == HTTPStatus.NOT_FOUND:
            return gone(answer)
        file_id = text(as_object(as_object(answer.json()).get("result")).get("sys_id"))
        return file_id or TransientFailure("an answer without an attachment")

    async def download(
        self, http: ProviderHttp, integration: Integration, file_id: str, most: int
    ) -> bytes | Gone | TooLarge | TransientFailure | PermanentFailure:
        """The bytes, by the attachment's ``sys_id``."""
        answer = await self._instance(http, integration).call("GET", queries.content_of(file_id), most=most)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == HTTPStatus.NOT_FOUND:
            return gone(answer)
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(f"more than {most} bytes")
        return answer.body

    def _instance(self, http: ProviderHttp, integration: Integration) -> Instance:
        config = ServiceNowConfig.model_validate(dict(integration.config))
        return Instance(http, integration, config, self._authentication)


def file_of(record: Mapping[str, Any]) -> TicketFile:
    """The file that a record of ``sys_attachment`` describes; its ``hash`` counts where it is a SHA-256."""
    return TicketFile(
        external_id=limits.identity(text(record.get("sys_id"))),
        file_name=text(record.get("file_name")),
        media_type=text(record.get("content_type")),
        size=whole_number(record.get("size_bytes")) or 0,
        author=limits.text(record.get("sys_created_by")),
        sha256=digest_of(text(record.get("hash"))),
    )
