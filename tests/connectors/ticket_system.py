"""A ticket connector, its running fake, and an integration that leads to it: what both ticket suites begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from connectors.kit.contract import Integration, Secret
from connectors.kit.http import ProviderHttp
from connectors.kit.tickets import Ticket, Tickets
from tests.connectors.examples import integration
from tests.harness.serving import Serving, serving

MARKER = "inc-5b1c6c0e-int_1"
TOKEN = "the-api-token"


@dataclass(frozen=True, slots=True)
class Linked:
    """One integration with its provider; ``effects`` is the fake's ``/_effects``."""

    tickets: Tickets
    http: ProviderHttp
    link: Integration
    served: Serving
    effects: Callable[[], dict[str, Any]]

    async def create(self, marker: str = MARKER, **fields: str) -> Ticket:
        """A ticket that was made without trouble."""
        return ticket(await self.tickets.create(self.http, self.link, marker, fields))

    async def read(self, external_id: str) -> Ticket:
        """A ticket that is there."""
        return ticket(await self.tickets.read(self.http, self.link, external_id))

    async def write(self, external_id: str, **changes: str) -> Ticket:
        """A write that works."""
        return ticket(await self.tickets.write(self.http, self.link, external_id, changes))

    async def fault(self, **document: Any) -> None:
        """Have the next calls fail."""
        assert (await self.served.post("/_faults", document)).status_code == 200


def ticket(found: object) -> Ticket:
    """What must be a ticket."""
    assert isinstance(found, Ticket), found
    return found


@asynccontextmanager
async def linked(
    connector: str, tickets: Tickets, app: Any, effects: Callable[[], dict[str, Any]], config: dict[str, Any]
) -> AsyncIterator[Linked]:
    """The fake served, and a client with one second of patience."""
    http = ProviderHttp(allow_loopback=True, timeout_s=1.0)
    try:
        async with serving(app) as served:
            link = integration(connector, {"base_url": served.url, **config}, Secret("api_token", TOKEN))
            yield Linked(tickets, http, link, served, effects)
    finally:
        await http.close()
