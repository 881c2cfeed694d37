"""`incidents up`: start the local stack."""

from __future__ import annotations

from typing import Annotated

import typer


def up(
    as_json: Annotated[bool, typer.Option("--json", help="Print the status when all answer.")] = False,
) -> None:
    """Start Apache Kafka, PostgreSQL and the S3 server of this folder and wait until they answer.

    Starting twice is harmless. Servers that KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL or S3_ENDPOINT name are used instead
    and only asked whether they answer. How to reach everything is written to .incidents/env.
    """
    from cli.output import print_json, standard_error
    from cli.progress import steps
    from infra.local import stack
    from infra.local.ports import ephemeral
    from infra.local.status import status

    opened = stack.open_stack()
    if taken_by_chance := ephemeral(opened.settings.all_ports()):
        standard_error().print(
            f"warning: INCIDENTS_PORT_OFFSET={opened.settings.port_offset} puts ports {taken_by_chance[0]} to"
            f" {taken_by_chance[-1]} into the range of outgoing connections, one of which may hold a port when its"
            " server starts: choose a smaller offset",
            soft_wrap=True,
        )
    with steps() as report:
        stack.up(opened, report)
    if as_json:
        print_json(status(opened))
    else:
        standard_error().print(f"ready; connections are in {opened.settings.environment_file}", soft_wrap=True)
