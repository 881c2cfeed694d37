"""``incidents worker``: a process of the orchestrator."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    slot: Annotated[
        str, typer.Option(help="Name of this worker's place in the group; two live workers need two.")
    ] = "0",
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Decide the intake: run one worker of the orchestrator until it is stopped."""
    from infra.local.environment import apply
    from streams.agents import orchestrator
    from streams.runtime.logging import configure
    from streams.runtime.settings import KafkaSettings

    apply()
    configure("worker")
    orchestrator.run(KafkaSettings(), slot, metrics_port)
