"""What a connector can be: small capabilities, each a protocol (the results of its calls are in ``outcome``).

A connector implements those that its provider has; what it lacks is ``None`` in its ``Connector``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import LookUp, Outcome
from streams.domain.envelope import Envelope
from streams.domain.errors import IncidentsError
from streams.domain.outputs import Intent
from streams.domain.records import dataclass
from streams.domain.signals import ProviderIngested, Signal
from streams.domain.ticket_files import FilesObserved
from streams.domain.tickets import TicketObserved

if TYPE_CHECKING:
    from connectors.kit.files import Files
    from connectors.kit.tickets import Tickets

Message = tuple[Envelope, Signal | ProviderIngested | TicketObserved | FilesObserved]
"""What a delivery becomes on the intake."""

SecretKind = Literal["webhook", "api_token"]


class Unparseable(IncidentsError):  # noqa: N818
    """A delivery that is refused as a whole (HTTP 400); ``index`` is the place in a batch, -1 where there is none."""

    def __init__(self, detail: str, index: int = -1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.index = index


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret of an integration; after ``expires_at`` (milliseconds, 0: never) it counts no more."""

    kind: SecretKind
    value: str = field(repr=False)
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class Integration:
    """A tenant's connection to one provider account, secrets decrypted; ``config`` is the connector's own."""

    integration_id: str
    tenant_id: str
    connector: str
    name: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[Secret, ...] = ()

    def valid(self, kind: SecretKind, now: int) -> list[str]:
        """The secrets of a kind that count at ``now`` (milliseconds): several while a rotation overlaps."""
        return [s.value for s in self.secrets if s.kind == kind and (not s.expires_at or now < s.expires_at)]

    @property
    def source(self) -> str:
        """The CloudEvents ``source`` of what comes in through it."""
        return f"/integrations/{self.connector}/{self.integration_id}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request of a provider: its raw body, headers by lower-case name, and query parameters."""

    body: bytes
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Receives(Protocol):
    """Takes webhooks. Both functions are pure."""

    content_types: frozenset[str]

    def verify(self, delivery: Delivery, secrets: Sequence[str], now: int) -> bool:
        """Whether the delivery is the provider's: constant-time against each secret; no secret, never true."""

    def parse(self, integration: Integration, delivery: Delivery, document: Any) -> list[Message]:
        """The messages of a verified delivery; ``document`` is its body as strict JSON.

        Raises ``Unparseable`` for a body that is no delivery of this provider at all.
        """


class Sends(Protocol):
    """Carries intents out at the provider."""

    actions: frozenset[str]
    rate_per_s: float
    """How many calls a second one integration may make."""

    async def send(self, http: ProviderHttp, integration: Integration, intent: Intent) -> Outcome:
        """Carry out one intent; never raises for anything that the provider or the network does."""

    async def look_up(self, http: ProviderHttp, integration: Integration, intent: Intent) -> LookUp:
        """Whether an earlier attempt, whose answer was lost, has already had its effect."""


def _no_config(config: Mapping[str, Any]) -> str:
    return "takes no configuration" if config else ""


@dataclass(frozen=True, slots=True)
class Connector:
    """One entry of the registry.

    ``check_config`` returns what is wrong with an integration's configuration, empty when nothing is.
    ``issues_secret``: the provider makes the webhook secret, so adding an integration needs it.
    """

    name: str
    receives: Receives | None = None
    sends: Sends | None = None
    tickets: Tickets | None = None
    files: Files | None = None
    check_config: Callable[[Mapping[str, Any]], str] = _no_config
    issues_secret: bool = False
