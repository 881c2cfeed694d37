"""``incidents projector``: writes the read models and the outbox from the record."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    slot: Annotated[
        str,
        typer.Option(
            envvar="INCIDENTS_PROJECTOR_SLOT",
            help="Name of this projector's place in the group, so that it has its partitions back at once when it is "
            "started again; two live projectors need two. None: any number may run, taking over waits six seconds.",
        ),
    ] = "",
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Project the record into PostgreSQL until stopped; start more of them to share the partitions."""
    from cli.errors import CommandError
    from cli.stopping import stop_on_signals
    from infra.local.environment import apply
    from projections import migrate
    from projections.base import LogBeginsLater, SequenceGap
    from projections.checkpoints import Fenced
    from projections.runner import PoisonedRecord, Projector
    from streams.runtime import collector
    from streams.runtime.health import serve
    from streams.runtime.logging import configure
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    apply()
    configure("projector")
    database = DatabaseSettings()
    stop = stop_on_signals()
    migrate.wait_until_current(database, stop)
    if stop.is_set():
        return
    projector = Projector(KafkaSettings(), database, stop, slot=slot)
    if metrics_port:
        serve(metrics_port, projector.checks)
    collector.spare()
    try:
        projector.run()
    except (SequenceGap, Fenced, LogBeginsLater, PoisonedRecord) as error:
        raise CommandError(f"{type(error).__name__}: {error}") from error
