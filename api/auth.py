"""Who asks: the ``Authorization: Bearer`` token of a request, and whether the decision point lets it through."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import NamedTuple

from api.problems import Problem
from api.tokens import Token, digest, token_id_of
from policy.decision import Action, Decide, Principal, Resource

LookUp = Callable[[bytes], Awaitable[Token | None]]
"""Finds a token by its digest; raises ``Unavailable`` while the database does not answer."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="incidents"'}


class Unavailable(Exception):  # noqa: N818  a state, not a mistake
    """The database does not answer at the moment."""


def unauthenticated(detail: str) -> Problem:
    """The one answer to a missing, malformed, unknown, expired or revoked token."""
    return Problem(401, "unauthenticated", "A valid token is needed", detail, headers=_CHALLENGE)


class Credential(NamedTuple):
    """A token as it is looked up: worked out once by whoever has to ask again and again."""

    token_id: str
    digest: bytes


@dataclass(slots=True)
class _Known:
    """A token seen before: ``fresh_until`` (monotonic seconds) is when it is looked up again."""

    digest: bytes
    token: Token
    principal: Principal
    fresh_until: float


class Authenticator:
    """Tokens to principals, with a bounded memory that outlives a database that is down.

    A remembered token is looked up again after ``max_age_s``, and at its next use after ``refresh`` (which the
    notification of any changed credential calls), so that a revoked one stops at once. While the database is down
    remembered tokens go on being answered; their expiry is checked at every use either way.
    """

    def __init__(self, look_up: LookUp, *, size: int, max_age_s: float) -> None:
        self._look_up = look_up
        self._size = size
        self._max_age_s = max_age_s
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._generation = 0

    def refresh(self) -> None:
        """Look every remembered token up again at its next use."""
        self._generation += 1
        for known in self._known.values():
            known.fresh_until = 0.0

    async def authenticate(self, header: str | None) -> Principal:
        """The principal of an ``Authorization`` header.

        Raises ``Problem`` 401 when it names no valid token, 503 when that cannot be told without the database.
        """
        return await self.check(credential(header))

    async def check(self, asked: Credential) -> Principal:
        """The principal of a credential as of now; raises as ``authenticate`` does."""
        known = await self._look(asked)
        if known is None or not known.token.valid_at(datetime.now(UTC)):
            raise unauthenticated("the token is unknown, expired or revoked")
        return known.principal

    async def _look(self, asked: Credential) -> _Known | None:
        known = self._known.get(asked.token_id)
        if known is not None and not hmac.compare_digest(known.digest, asked.digest):
            return None
        if known is not None and monotonic() < known.fresh_until:
            self._known.move_to_end(asked.token_id)
            return known
        generation = self._generation
        try:
            token = await self._look_up(asked.digest)
        except Unavailable as error:
            if known is not None:
                return known
            detail = "tokens that were not seen before cannot be checked while the database is down"
            raise Problem(
                503, "database-unavailable", "The database is unavailable", detail, retry_after_s=2
            ) from error
        return self._keep(asked, token, current=generation == self._generation)

    def _keep(self, asked: Credential, token: Token | None, *, current: bool) -> _Known | None:
        """Remember what was found; something that changed during the look-up is looked up again at its next use."""
        if token is None:
            self._known.pop(asked.token_id, None)
            return None
        principal = Principal(token.tenant_id, token.role, token.token_id, token.name)
        fresh_until = monotonic() + self._max_age_s if current else 0.0
        found = self._known[asked.token_id] = _Known(asked.digest, token, principal, fresh_until)
        self._known.move_to_end(asked.token_id)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return found


def credential(header: str | None) -> Credential:
    """What an ``Authorization`` header names; raises ``Problem`` 401 when it is no token of ours."""
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthenticated("send Authorization: Bearer <token>")
    text = text.strip()
    token_id = token_id_of(text)
    if token_id is None:
        raise unauthenticated("this is not a token of this product")
    return Credential(token_id, digest(text))


def require(decide: Decide, principal: Principal, action: Action, kind: str = "", id_: str = "") -> tuple[str, ...]:
    """Ask the decision point about something in the principal's own tenant; the obligations of its yes.

    Raises ``Problem`` 403 with the reason of its no.
    """
    decision = decide(principal, action, Resource(principal.tenant_id, kind, id_))
    if not decision.allowed:
        raise Problem(403, "forbidden", "Not allowed", decision.reason)
    return decision.obligations
