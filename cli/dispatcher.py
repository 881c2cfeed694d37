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
    from cli.provider_process import run
    from connectors.kit.dispatcher import Dispatcher, DispatcherSettings

    run("dispatcher", metrics_port, Dispatcher, DispatcherSettings)
