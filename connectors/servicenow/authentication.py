"""How calls to an instance are authorized: basic, a bearer token, or OAuth 2.0 client credentials (RFC 6749, 4.4)."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from typing import Any

from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp, classify
from connectors.kit.outcome import PermanentFailure
from connectors.kit.tickets import Failure
from connectors.servicenow.config import HOSTS, ServiceNowConfig

_EARLY_S = 60.0
_DEFAULT_LIFETIME_S = 600
Key = tuple[str, str]


class Authentication:
    """Remembers access tokens until shortly before they expire; ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tokens: dict[Key, tuple[str, float]] = {}

    async def header(self, http: ProviderHttp, integration: Integration, config: ServiceNowConfig) -> str | Failure:
        """The value of ``Authorization``."""
        secrets = integration.valid("api_token", int(time.time() * 1000))
        if not secrets:
            return PermanentFailure("the integration has no api_token")
        match config.auth:
            case "basic":
                pair = f"{config.username}:{secrets[0]}".encode()
                return f"Basic {base64.b64encode(pair).decode()}"
            case "bearer":
                return f"Bearer {secrets[0]}"
            case "oauth":
                return await self._oauth(http, integration, config, secrets[0])

    def forget(self, integration: Integration) -> None:
        """Ask for a new access token the next time: this one was refused."""
        for key in [one for one in self._tokens if one[0] == integration.integration_id]:
            del self._tokens[key]

    async def _oauth(
        self, http: ProviderHttp, integration: Integration, config: ServiceNowConfig, secret: str
    ) -> str | Failure:
        key = (integration.integration_id, hashlib.sha256(f"{config}\0{secret}".encode()).hexdigest())
        token, until = self._tokens.get(key, ("", 0.0))
        if self._clock() < until:
            return f"Bearer {token}"
        form = {"grant_type": "client_credentials", "client_id": config.client_id, "client_secret": secret}
        answer = await http.call("POST", config.base_url, "/oauth_token.do", HOSTS, {}, form=form)
        if not isinstance(answer, Answer):
            return answer
        document = answer.json()
        if not answer.succeeded or not isinstance(document, dict) or not isinstance(document.get("access_token"), str):
            return classify(answer, time.time(), "no access token")
        self.forget(integration)
        self._tokens[key] = (document["access_token"], self._clock() + _lifetime(document) - _EARLY_S)
        return f"Bearer {document['access_token']}"


def _lifetime(document: dict[str, Any]) -> int:
    seconds = document.get("expires_in")
    return seconds if isinstance(seconds, int) else _DEFAULT_LIFETIME_S
