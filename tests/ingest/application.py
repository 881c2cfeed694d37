"""The ingest endpoints as an application, with ports that the tests can see into."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from starlette.applications import Starlette
from starlette.requests import Request

from api.ingest import IngestDependencies, routes
from api.ingest.dependencies import Admits
from api.problems import Problem
from connectors.kit.contract import Integration, Secret
from connectors.kit.database import DatabaseUnavailable
from streams.codec import cloudevents
from streams.domain.envelope import Envelope
from streams.domain.errors import Transient
from streams.domain.signals import ProviderIngested, Signal
from streams.domain.tickets import TicketObserved
from streams.runtime.producer import ProducerRecord
from tests.connectors.examples import CONFIGS, SECRETS, SIGNED

TOKENS = {"responder-token": "responder", "admin-token": "admin", "viewer-token": "viewer"}
MAPPING = {"mapping": {"rules": [{"type": "com.example.*", "fields": {"title": {"path": "$.data.name"}}}]}}


@dataclass(frozen=True, slots=True)
class Caller:
    """What a token stands for."""

    tenant_id: str
    role: str


@dataclass(slots=True)
class Ports:
    """A producer, an object store and a directory that keep what they are given and fail when told to."""

    records: list[ProducerRecord] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    fails: Transient | Exception | None = None
    storage_fails: Transient | None = None
    directory_fails: bool = False

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        """The producer's."""
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        self.order.append("kafka")
        self.records.extend(records)

    async def put_async(self, content: bytes, content_type: str = "") -> str:
        """The object store's."""
        del content_type
        if self.storage_fails is not None:
            raise self.storage_fails
        self.order.append("storage")
        key = f"sha256/{len(self.objects)}"
        self.objects[key] = content
        return key

    async def resolve(self, integration_id: str) -> Integration | None:
        """The directory's."""
        if self.directory_fails:
            raise DatabaseUnavailable("away")
        tenant, _, connector = integration_id.partition("_")
        secrets = () if "closed" in connector else tuple(Secret("webhook", one) for one in SECRETS)
        name = connector.removesuffix("-closed").removesuffix("-mapped")
        config = MAPPING if connector.endswith("-mapped") else CONFIGS.get(name, {})
        known = tenant in {"acme", "other"} and name in SIGNED
        return Integration(integration_id, tenant, name, "", config, secrets) if known else None

    def messages(self) -> list[tuple[Envelope, Signal | ProviderIngested | TicketObserved]]:
        """What is on the intake, decoded."""
        return [cloudevents.decode(record.headers, record.value) for record in self.records]


async def authenticate(request: Request) -> Caller:
    """As the API does it, with three fixed tokens."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token not in TOKENS:
        raise Problem(401, "unauthorized")
    return Caller("acme", TOKENS[token])


def application(ports: Ports, admission: Admits | None = None) -> Starlette:
    """The application."""
    needs = IngestDependencies(producer=ports, storage=ports, directory=ports, authenticate=authenticate)
    return Starlette(routes=routes(replace(needs, admission=admission) if admission else needs))
