"""`incidents archiver`: the process that puts the log into the archive."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Archive the log until stopped; more than one may run, and one of them does each piece of the work."""
    from cli.archive import archiver, errors
    from cli.stopping import stop_on_signals
    from infra.local.environment import apply
    from streams.runtime import collector
    from streams.runtime.health import serve
    from streams.runtime.logging import configure

    apply()
    configure("archiver")
    stop = stop_on_signals()
    with errors():
        running = archiver(stop)
        if metrics_port:
            serve(metrics_port, running.checks)
        collector.spare()
        running.run()
