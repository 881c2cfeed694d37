"""`incidents dispatcher`: the process that carries side effects out at the providers."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Carry planned side effects out at the providers until stopped; any number may run side by side.

    SIGTERM lets what is under way finish.
    """
    import asyncio

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit.secrets import SecretsSealed
    from infra.local.environment import apply
    from streams.runtime.logging import configure

    apply()
    configure("dispatcher")
    try:
        asyncio.run(_serve(metrics_port))
    except SecretsSealed as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


async def _serve(metrics_port: int) -> None:
    import asyncio
    import signal

    from connectors.kit.directory import IntegrationDirectory
    from connectors.kit.dispatcher import Dispatcher, DispatcherSettings
    from connectors.kit.http import ProviderHttp
    from connectors.kit.secrets import ConnectorSettings, SecretBox
    from connectors.registry import CONNECTORS
    from streams.runtime import health
    from streams.runtime.producer import AcknowledgedProducer
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    kafka, database, settings = KafkaSettings(), DatabaseSettings(), ConnectorSettings()
    directory = IntegrationDirectory(database, SecretBox(settings), role="projector")
    http = ProviderHttp(allow_loopback=settings.allow_loopback_providers)
    producer = AcknowledgedProducer(kafka, "incidents-dispatcher", delivery_timeout_ms=6_000)
    dispatcher = Dispatcher(
        DispatcherSettings(), database, producer, directory, http, CONNECTORS, kafka.topic("incident-intake")
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, dispatcher.stop)
    server = health.serve(metrics_port, dispatcher.checks) if metrics_port else None
    await directory.start()
    try:
        await dispatcher.run()
    finally:
        await directory.close()
        await http.close()
        producer.close(2.0)
        if server is not None:
            server.shutdown()
