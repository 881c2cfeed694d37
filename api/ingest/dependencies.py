"""What the ingest endpoints need from the application that mounts them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from starlette.requests import Request

from connectors.kit.contract import Integration
from streams.runtime.admission import Gate
from streams.runtime.producer import ProducerRecord

MAX_BODY_BYTES = 1_048_576


class Producer(Protocol):
    """``streams.runtime.producer.AcknowledgedProducer``."""

    async def send(self, records: Sequence[ProducerRecord]) -> None:
        """Return once Kafka has them; raises ``Transient``."""


class Storage(Protocol):
    """``streams.runtime.object_storage.ObjectStorage``."""

    async def put_async(self, content: bytes, content_type: str = ...) -> str:
        """Store bytes under their digest and return the key; raises ``Transient``."""


class Admits(Protocol):
    """``streams.runtime.admission.Gate`` and ``Admission``."""

    def check(self, tenant: str, /) -> None:
        """Raise ``Transient`` where the tenant has to wait."""

    def accepted(self, tenant: str, count: int, /) -> None:
        """Count what a tenant put on the intake."""


class Directory(Protocol):
    """``connectors.kit.directory.IntegrationDirectory``."""

    async def resolve(self, integration_id: str) -> Integration | None:
        """The integration, if there is one that is not disabled; raises ``Transient``."""


class Principal(Protocol):
    """Who an API token belongs to."""

    @property
    def tenant_id(self) -> str:
        """The only tenant that it may write to."""

    @property
    def role(self) -> str:
        """viewer, responder or admin."""


@dataclass(frozen=True, slots=True)
class IngestDependencies:
    """``authenticate`` raises ``Problem`` for a token that is not valid; ``topic`` is the intake on the cluster.

    ``admission`` holds tenants back; by default it knows of no backlog.
    """

    producer: Producer
    storage: Storage
    directory: Directory
    authenticate: Callable[[Request], Awaitable[Principal]]
    topic: str = "incident-intake"
    max_body_bytes: int = MAX_BODY_BYTES
    clock: Callable[[], float] = time.time
    admission: Admits = field(default_factory=Gate)
