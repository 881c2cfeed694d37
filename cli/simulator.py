"""``incidents simulator``: works on what-if jobs, and follows the drafts that run in a shadow."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Simulate until stopped: nothing of it can write to Kafka, and PostgreSQL takes only its reports."""
    import os
    import socket

    from cli.simulating import Simulator
    from cli.stopping import stop_on_signals
    from cli.what_if import open_log
    from infra.local.environment import apply
    from projections import migrate
    from projections.connections import connect
    from streams.runtime import collector
    from streams.runtime.health import serve
    from streams.runtime.logging import configure
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    apply()
    configure("simulator")
    collector.spare()
    database, kafka = DatabaseSettings(), KafkaSettings()
    stop = stop_on_signals()
    migrate.wait_until_current(database, stop)
    name = f"{socket.gethostname()}-{os.getpid()}"
    simulator = Simulator(
        kafka, lambda: connect(database, "projector", name="simulator", autocommit=True), open_log, stop, name
    )
    if metrics_port:
        serve(metrics_port, lambda: {what: problem or "ok" for what, problem in simulator.problems.items()})
    simulator.run()
