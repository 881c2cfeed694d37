"""`incidents dispatcher`: the process that carries side effects out at the providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.provider_process import Clients
    from connectors.kit.dispatcher import Dispatcher


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Carry planned side effects out at the providers until stopped; any number may run side by side.

    SIGTERM lets what is under way finish.
    """
    from cli.provider_process import run

    run("dispatcher", metrics_port, _make)


def _make(clients: Clients) -> Dispatcher:
    from connectors.kit.dispatcher import Dispatcher, DispatcherSettings
    from connectors.registry import CONNECTORS

    return Dispatcher(
        DispatcherSettings(),
        clients.database,
        clients.producer,
        clients.directory,
        clients.http,
        CONNECTORS,
        clients.topic,
    )
