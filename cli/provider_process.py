"""What the processes that call providers have in common: their clients, their signals, health and an orderly end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from connectors.kit.directory import IntegrationDirectory
    from connectors.kit.http import ProviderHttp
    from streams.runtime.producer import AcknowledgedProducer
    from streams.runtime.settings import DatabaseSettings


class Runs(Protocol):
    """A process's work."""

    def checks(self) -> Mapping[str, str]:
        """What readiness depends on."""

    def stop(self) -> None:
        """Let ``run`` return."""

    async def run(self) -> None:
        """Work until ``stop``."""


@dataclass(frozen=True, slots=True)
class Clients:
    """What such a process works with; ``topic`` is the intake's name on the cluster."""

    database: DatabaseSettings
    producer: AcknowledgedProducer
    directory: IntegrationDirectory
    http: ProviderHttp
    topic: str


def run(name: str, metrics_port: int, make: Callable[[Clients], Runs]) -> None:
    """Run what ``make`` returns until SIGTERM or SIGINT; raises ``CommandError`` where secrets cannot be read."""
    import asyncio

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit.secrets import SecretsSealed
    from infra.local.environment import apply
    from streams.runtime.logging import configure

    apply()
    configure(name)
    try:
        asyncio.run(_serve(name, metrics_port, make))
    except SecretsSealed as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


async def _serve(name: str, metrics_port: int, make: Callable[[Clients], Runs]) -> None:
    import asyncio
    import signal

    from connectors.kit.directory import IntegrationDirectory
    from connectors.kit.http import ProviderHttp
    from connectors.kit.secrets import ConnectorSettings, SecretBox
    from streams.runtime import health
    from streams.runtime.producer import AcknowledgedProducer
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    kafka, database, settings = KafkaSettings(), DatabaseSettings(), ConnectorSettings()
    directory = IntegrationDirectory(database, SecretBox(settings), role="projector")
    http = ProviderHttp(allow_loopback=settings.allow_loopback_providers)
    producer = AcknowledgedProducer(kafka, f"incidents-{name}", delivery_timeout_ms=6_000)
    work = make(Clients(database, producer, directory, http, kafka.topic("incident-intake")))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.stop)
    server = health.serve(metrics_port, work.checks) if metrics_port else None
    await directory.start()
    try:
        await work.run()
    finally:
        await directory.close()
        await http.close()
        producer.close(2.0)
        if server is not None:
            server.shutdown()
