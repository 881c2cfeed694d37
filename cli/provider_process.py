"""What the processes that call providers have in common: their clients, their signals, health and an orderly end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from connectors.kit.contract import Connector
    from connectors.kit.directory import IntegrationDirectory
    from connectors.kit.http import ProviderHttp
    from streams.runtime.producer import AcknowledgedProducer
    from streams.runtime.settings import DatabaseSettings

Settings = TypeVar("Settings")


class Runs(Protocol):
    """A process's work."""

    def checks(self) -> Mapping[str, str]:
        """What readiness depends on."""

    def stop(self) -> None:
        """Let ``run`` return."""

    async def run(self) -> None:
        """Work until ``stop``."""


if TYPE_CHECKING:
    Make = Callable[
        [
            Settings,
            DatabaseSettings,
            AcknowledgedProducer,
            IntegrationDirectory,
            ProviderHttp,
            Mapping[str, Connector],
            str,
        ],
        Runs,
    ]


def run(name: str, metrics_port: int, make: Make[Settings], settings: Callable[[], Settings]) -> None:
    """Run what ``make`` returns until SIGTERM or SIGINT; ``settings`` reads its settings from the environment.

    Raises ``CommandError`` where secrets cannot be read.
    """
    import asyncio

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit.secrets import SecretsSealed
    from infra.local.environment import apply
    from streams.runtime.logging import configure

    apply()
    configure(name)
    try:
        asyncio.run(_serve(name, metrics_port, make, settings()))
    except SecretsSealed as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


async def _serve(name: str, metrics_port: int, make: Make[Settings], settings: Settings) -> None:
    import asyncio
    import signal

    from connectors.kit.directory import IntegrationDirectory
    from connectors.kit.http import ProviderHttp
    from connectors.kit.secrets import ConnectorSettings, SecretBox
    from connectors.registry import CONNECTORS
    from streams.runtime import health
    from streams.runtime.producer import AcknowledgedProducer
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    kafka, database, common = KafkaSettings(), DatabaseSettings(), ConnectorSettings()
    directory = IntegrationDirectory(database, SecretBox(common), role="projector")
    http = ProviderHttp(allow_loopback=common.allow_loopback_providers)
    producer = AcknowledgedProducer(kafka, f"incidents-{name}", delivery_timeout_ms=6_000)
    work = make(settings, database, producer, directory, http, CONNECTORS, kafka.topic("incident-intake"))
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
