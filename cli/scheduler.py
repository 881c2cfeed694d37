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
    from projections.scheduler import Scheduler, intake_sender
    from streams.runtime.health import serve
    from streams.runtime.logging import configure
    from streams.runtime.producer import AcknowledgedProducer
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    apply()
    configure("scheduler")
    database = DatabaseSettings()
    stop = stop_on_signals()
    migrate.wait_until_current(database, stop)
    kafka = KafkaSettings()
    producer = AcknowledgedProducer(kafka, "incidents-scheduler", delivery_timeout_ms=8_000)
    send = intake_sender(producer, kafka.topic("incident-intake"))
    scheduler = Scheduler(lambda: connect(database, "projector", name="scheduler", autocommit=True), send, stop)
    if metrics_port:
        serve(metrics_port, lambda: {"scheduler": scheduler.problem or "ok"})
    scheduler.run()
    producer.close()
