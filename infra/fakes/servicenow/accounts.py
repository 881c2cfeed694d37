"""Who calls the fake: basic authentication, a bearer token, or OAuth with the client credentials grant."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable

from starlette.requests import Request

from infra.fakes.guard import Refused
from infra.fakes.servicenow.table import error

INTEGRATION = "incidents.integration"
"""The user that a bearer token acts as."""

LIFETIME_S = 1_799
"""How long an access token lives."""


class Accounts:
    """``credential`` is the password of basic authentication, the bearer token and the OAuth client's secret."""

    def __init__(self, user: str, credential: str, clock: Callable[[], float]) -> None:
        self._user = user
        self._credential = credential
        self._clock = clock
        self._issued: dict[str, float] = {}

    def user(self, request: Request) -> str:
        """The user of a call; raises ``Refused`` 401."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            name, _, password = _decoded(value).partition(":")
            if name == self._user and self._is_credential(password):
                return name
        if scheme.lower() == "bearer" and (
            self._is_credential(value) or self._clock() < self._issued.get(value, float("-inf"))
        ):
            return INTEGRATION
        raise Refused(401, error("User Not Authenticated", "Required to provide Auth information"))

    def issue(self, grant: str, client_secret: str) -> dict[str, object]:
        """An access token for the client credentials grant; raises ``Refused`` 401."""
        if grant != "client_credentials" or not self._is_credential(client_secret):
            raise Refused(401, {"error": "access_denied", "error_description": "access_denied"})
        token = secrets.token_urlsafe(32)
        self._issued[token] = self._clock() + LIFETIME_S
        return {"access_token": token, "scope": "useraccount", "token_type": "Bearer", "expires_in": LIFETIME_S}

    def revoke(self) -> None:
        """Forget every access token, as when an administrator revokes them."""
        self._issued.clear()

    def _is_credential(self, given: str) -> bool:
        return bool(given) and hmac.compare_digest(given.encode(), self._credential.encode())


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
