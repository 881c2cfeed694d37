"""``incidents scheduler``: turns due times of the record into commands."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Fire timers until stopped; several may run, and each timer is fired once."""
    from cli.stopping import stop_on_signals
    from infra.local.environment import apply
    from projections import migrate
    from projections.connections import connect
    from projections.scheduler import IntakeProducer, Scheduler
    from streams.runtime.health import serve
    from streams.runtime.logging import configure
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    apply()
    configure("scheduler")
    database = DatabaseSettings()
    stop = stop_on_signals()
    migrate.wait_until_current(database, stop)
    producer = IntakeProducer(KafkaSettings())
    scheduler = Scheduler(
        lambda: connect(database, "projector", name="scheduler", autocommit=True), producer.send, stop
    )
    if metrics_port:
        serve(metrics_port, lambda: {"scheduler": scheduler.problem or "ok"})
    scheduler.run()
