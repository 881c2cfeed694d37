"""One authorized call to the API, and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from connectors.incidentio.config import HOSTS, IncidentIoConfig
from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp, classify, retry_after
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, PermanentFailure, TransientFailure
from connectors.kit.tickets import Failure


@dataclass(frozen=True, slots=True)
class Account:
    """An account as one integration calls it."""

    http: ProviderHttp
    integration: Integration
    config: IncidentIoConfig

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer | Gone | Failure:
        """An answer of success, ``Gone`` for 404, or what went wrong, in the provider's own words."""
        now = time.time()
        tokens = self.integration.valid("api_token", int(now * 1000))
        if not tokens:
            return PermanentFailure("the integration has no api_token")
        headers = {"Accept": "application/json", "Authorization": f"Bearer {tokens[0]}"}
        answer = await self.http.call(method, self.config.base_url, path, HOSTS, headers, body)
        if not isinstance(answer, Answer) or answer.succeeded:
            return answer
        if answer.status == HTTPStatus.NOT_FOUND:
            return Gone(_words(answer) or "no such incident")
        failure = classify(answer, now, _words(answer))
        if isinstance(failure, TransientFailure) and failure.throttled and not failure.retry_after_s:
            wait = str(as_object(as_object(answer.json()).get("rate_limit")).get("retry_after", ""))
            return TransientFailure(failure.reason, retry_after({"retry-after": wait}, now), throttled=True)
        return failure

    async def listed(self, path: str, name: str) -> list[dict[str, Any]] | Failure:
        """The objects of a list that has one page."""
        answer = not_gone(await self.call("GET", path))
        return objects(answer, name) if isinstance(answer, Answer) else answer


def objects(answer: Answer, name: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer."""
    found = as_object(answer.json()).get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def after(answer: Answer) -> str:
    """Where the next page begins; empty at the end."""
    return str(as_object(as_object(answer.json()).get("pagination_meta")).get("after") or "")


def not_gone(answer: Answer | Gone | Failure) -> Answer | Failure:
    """An answer where nothing can be gone: then 404 says that the address or a right is wrong."""
    return PermanentFailure(f"HTTP 404: {answer.reason}") if isinstance(answer, Gone) else answer


def _words(answer: Answer) -> str:
    """What an error document says, the fields that it names included."""
    found = []
    for one in objects(answer, "errors"):
        where = str(as_object(one.get("source")).get("field", ""))
        found.append(f"{where}: {one.get('message', '')}" if where else str(one.get("message", "")))
    return "; ".join(found)
