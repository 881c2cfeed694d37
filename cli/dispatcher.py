"""`incidents dispatcher`: the process that carries side effects out at the providers."""

from __future__ import annotations


def command() -> None:
    """Carry out planned side effects at the providers until stopped (SIGTERM finishes what is under way).

    Any number may run side by side. Health and metrics are on INCIDENTS_METRICS_PORT (default 9103).
    """
    import asyncio
    import os

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit.secrets import SecretsSealed
    from streams.runtime import logging

    logging.configure("dispatcher", os.environ.get("INCIDENTS_LOG_LEVEL", "INFO"))
    port = int(os.environ.get("INCIDENTS_METRICS_PORT") or "9103")
    try:
        asyncio.run(_serve(port))
    except SecretsSealed as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


async def _serve(port: int) -> None:
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
    server = health.serve(port, dispatcher.checks)
    await directory.start()
    try:
        await dispatcher.run()
    finally:
        await directory.close()
        await http.close()
        producer.close(2.0)
        server.shutdown()
