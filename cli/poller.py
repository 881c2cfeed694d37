"""`incidents poller`: the process that asks ticket systems what changed."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Read what changed at ticket systems until stopped, so that a lost webhook is only a delay; several may run.

    SIGTERM lets what is under way finish.
    """
    from cli.provider_process import run
    from connectors.kit.poller import Poller, PollerSettings

    run("poller", metrics_port, Poller, PollerSettings)
