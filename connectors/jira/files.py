"""Attachments of issues (https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-attachments/).

Jira gives no digest of a file, so name and size have to do. Contents are asked for without a redirect
(``redirect=false``): no other host is ever called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from connectors.jira.calls import Site
from connectors.jira.config import JiraConfig
from connectors.kit import limits
from connectors.kit.contract import Integration
from connectors.kit.files import TicketFile
from connectors.kit.http import Answer, ProviderHttp, Upload
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, PermanentFailure, TooLarge, TransientFailure

_PART = "file"


class JiraFiles:
    """Files of issues."""

    async def list_files(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Sequence[TicketFile] | Gone | TransientFailure | PermanentFailure:
        """A field of the issue, read from the database."""
        path = f"/issue/{quote(external_id, safe='')}?fields=attachment"
        answer = await _site(http, integration).call("GET", path)
        if not isinstance(answer, Answer):
            return answer
        return files_of(as_object(as_object(answer.json()).get("fields")).get("attachment"))

    async def upload(
        self, http: ProviderHttp, integration: Integration, external_id: str, file: Upload
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """As a form with one part; the answer is a list of what was made."""
        path = f"/issue/{quote(external_id, safe='')}/attachments"
        answer = await _site(http, integration).call("POST", path, upload=replace(file, field=_PART))
        if not isinstance(answer, Answer):
            return answer
        made = files_of(answer.json())
        return made[0].external_id if made else TransientFailure("an answer without an attachment")

    async def download(
        self, http: ProviderHttp, integration: Integration, file_id: str, most: int
    ) -> bytes | Gone | TooLarge | TransientFailure | PermanentFailure:
        """The bytes, from the site itself."""
        path = f"/attachment/content/{quote(file_id, safe='')}?redirect=false"
        answer = await _site(http, integration).call("GET", path, most=most)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return TooLarge(f"more than {most} bytes")
        return answer.body


def files_of(attachments: Any) -> list[TicketFile]:
    """The files that an issue's field shows; entries without an id are passed over."""
    found = [as_object(one) for one in attachments] if isinstance(attachments, list) else []
    return [_file(one) for one in found if one.get("id")]


def _file(one: Mapping[str, Any]) -> TicketFile:
    size, author = one.get("size"), as_object(one.get("author"))
    return TicketFile(
        external_id=limits.identity(one.get("id")),
        file_name=limits.text(one.get("filename"), limits.TITLE_CHARACTERS),
        media_type=limits.text(one.get("mimeType")),
        size=size if isinstance(size, int) and not isinstance(size, bool) else 0,
        author=limits.text(author.get("displayName") or author.get("accountId")),
    )


def _site(http: ProviderHttp, integration: Integration) -> Site:
    return Site(http, integration, JiraConfig.model_validate(dict(integration.config)))
