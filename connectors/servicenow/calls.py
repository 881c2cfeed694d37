"""One authorized call to an instance, and what its answers mean."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp, Upload, classify
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, TransientFailure
from connectors.kit.tickets import Failure
from connectors.servicenow.authentication import Authentication
from connectors.servicenow.config import HOSTS, ServiceNowConfig

_LONGEST_WAIT_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as one integration calls it."""

    http: ProviderHttp
    integration: Integration
    config: ServiceNowConfig
    authentication: Authentication

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        upload: Upload | None = None,
        most: int = 0,
    ) -> Answer | Failure:
        """An answer of success, or what went wrong; 404 is an answer too, since it has a meaning of its own.

        So is 413 for a file of more than ``most`` bytes.
        """
        answer = await self._once(method, path, body, upload, most)
        if self.config.auth == "oauth" and isinstance(answer, Answer) and answer.status == HTTPStatus.UNAUTHORIZED:
            self.authentication.forget(self.integration)  # refused, so nothing was done: a new token may be tried
            answer = await self._once(method, path, body, upload, most)
        if not isinstance(answer, Answer) or answer.succeeded or answer.status == HTTPStatus.NOT_FOUND:
            return answer
        if most and answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return answer
        return failure(answer, time.time())

    async def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, upload: Upload | None, most: int
    ) -> Answer | Failure:
        authorization = await self.authentication.header(self.http, self.integration, self.config)
        if not isinstance(authorization, str):
            return authorization
        headers = {"Accept": "*/*" if most else "application/json", "Authorization": authorization}
        return await self.http.call(method, self.config.base_url, path, HOSTS, headers, body, upload=upload, most=most)


def failure(answer: Answer, now: float) -> Failure:
    """A refusal: with the instance's own words, and the wait that its rate limit asks for."""
    error = as_object(as_object(answer.json()).get("error"))
    words = [str(error[name]) for name in ("message", "detail") if error.get(name)]
    found = classify(answer, now, " - ".join(words))
    if isinstance(found, TransientFailure) and found.throttled and not found.retry_after_s:
        return TransientFailure(found.reason, _until_reset(answer, now), throttled=True)
    return found


def _until_reset(answer: Answer, now: float) -> float:
    """Seconds until ``X-RateLimit-Reset``, which is a time, where there is no ``Retry-After``."""
    reset = answer.headers.get("x-ratelimit-reset", "")
    if not (reset.isascii() and reset.isdigit()):
        return 0.0
    return min(max(0.0, float(int(reset[:12])) - now), _LONGEST_WAIT_S)


def gone(answer: Answer) -> Gone:
    """What a 404 means for a record: deleted, or hidden by an access rule; the instance does not say which."""
    error = as_object(as_object(answer.json()).get("error"))
    return Gone(str(error.get("detail") or error.get("message") or "no such record")[:300])
