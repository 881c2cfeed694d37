"""What resolvers are given, and how they ask the decision point."""

from __future__ import annotations

from typing import Any, cast

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket
from strawberry.fastapi import BaseContext
from strawberry.types import Info

from api.auth import Credential, credential, require
from api.dependencies import Api, parts
from api.joint import JointSessions
from api.reads import Reads
from policy.decision import Action, Principal


class Context(BaseContext):
    """One HTTP request, or one WebSocket with its ``connection_init`` payload."""

    connection_params: dict[str, Any] | None = None
    _credential: Credential | None = None
    _reads: Reads | None = None

    @property
    def connection(self) -> HTTPConnection:
        """The request or WebSocket."""
        assert self.request is not None
        return cast("HTTPConnection", self.request)

    @property
    def is_socket(self) -> bool:
        """Whether answers go to a WebSocket."""
        return isinstance(self.connection, WebSocket)

    @property
    def api(self) -> Api:
        """The parts of the API."""
        return parts(self.connection)

    @property
    def reads(self) -> Reads:
        """Reads whose fields share a session: those that a document asks for at the same moment.

        The operations of a WebSocket do not: one that its client ends would fail the others' transaction.
        """
        if self.is_socket:
            return self.api.reads
        if self._reads is None:
            self._reads = Reads(JointSessions(self.api.database))
        return self._reads

    @property
    def authorization(self) -> str | None:
        """The credential: the header, or ``Authorization`` in the ``connection_init`` payload (browsers)."""
        for name in ("Authorization", "authorization"):
            value = (self.connection_params or {}).get(name)
            if isinstance(value, str):
                return value
        return self.connection.headers.get("authorization")

    async def principal(self) -> Principal:
        """Who asks; raises ``Problem`` 401 or 503. Checked at every use: a WebSocket may outlive its token."""
        if self._credential is None:
            self._credential = credential(self.authorization)
        return await self.api.authenticator.check(self._credential)

    async def ask(self, action: Action, kind: str = "", id_: str = "") -> Principal:
        """The principal, whom the decision point lets do ``action``; raises ``Problem`` 401, 403 or 503."""
        principal = await self.principal()
        require(self.api.decide, principal, action, kind, id_)
        return principal


Resolving = Info[Context, None]
