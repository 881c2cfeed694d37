"""One authorized call to a site, and what its answers mean."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from connectors.jira.config import HOSTS, JiraConfig
from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp, Upload, classify
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, PermanentFailure
from connectors.kit.tickets import Failure

API = "/rest/api/3"


@dataclass(frozen=True, slots=True)
class Site:
    """A site as one integration calls it."""

    http: ProviderHttp
    integration: Integration
    config: JiraConfig

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        upload: Upload | None = None,
        most: int = 0,
    ) -> Answer | Gone | Failure:
        """An answer of success, ``Gone`` for 404, or what went wrong, in Jira's own words.

        413 for a file of more than ``most`` bytes is an answer, too.
        """
        tokens = self.integration.valid("api_token", int(time.time() * 1000))
        if not tokens:
            return PermanentFailure("the integration has no api_token")
        accept = "*/*" if most else "application/json"
        headers = {"Accept": accept, "Authorization": _authorization(self.config.email, tokens[0])}
        if upload is not None:
            headers["X-Atlassian-Token"] = (
                "no-check"  # else the request is taken for one that a browser was tricked into
            )
        answer = await self.http.call(
            method, self.config.base_url, API + path, HOSTS, headers, body, upload=upload, most=most
        )
        if not isinstance(answer, Answer) or answer.succeeded:
            return answer
        if most and answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return answer
        if answer.status == HTTPStatus.NOT_FOUND:
            return Gone(words(answer) or "no such issue")
        return classify(answer, time.time(), words(answer))


def _authorization(email: str, token: str) -> str:
    if not email:
        return f"Bearer {token}"
    return f"Basic {base64.b64encode(f'{email}:{token}'.encode()).decode()}"


def words(answer: Answer) -> str:
    """What an error document says, the fields that it names included."""
    document = as_object(answer.json())
    messages = document.get("errorMessages")
    found = [str(one) for one in messages] if isinstance(messages, list) else []
    return "; ".join([*found, *(f"{name}: {why}" for name, why in as_object(document.get("errors")).items())])


def not_gone(answer: Answer | Gone | Failure) -> Answer | Failure:
    """An answer where nothing can be gone: then 404 says that the address or a right is wrong."""
    return PermanentFailure(f"HTTP 404: {answer.reason}") if isinstance(answer, Gone) else answer
