"""`incidents tenant`: what operators do with a tenant as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Tenants as a whole.")


@app.callback()
def _group() -> None:
    """A group also while it has one command."""


@app.command()
def release(
    tenant: Annotated[str, typer.Argument(help="The tenant that is parked.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the result.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value.")] = False,
) -> None:
    """Take up the work of a parked tenant again; what it missed is replayed with `incidents dlq replay --all`."""
    import uuid
    from dataclasses import asdict

    from confluent_kafka import KafkaException

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from infra.local.environment import apply
    from streams.domain.catalogue import TYPE_OF
    from streams.domain.commands import Release
    from streams.domain.envelope import Envelope
    from streams.domain.outputs import CommandRejected
    from streams.runtime.commanding import NoAnswer, carry_out
    from streams.runtime.settings import KafkaSettings

    apply()
    envelope = Envelope(str(uuid.uuid4()), "/cli", TYPE_OF[Release], tenant)
    try:
        result = carry_out(KafkaSettings(), envelope, Release(actor()), timeout)
    except NoAnswer as error:
        raise CommandError(str(error), ExitCode.FAILED if error.sent else ExitCode.NOT_RUNNING) from error
    except KafkaException as error:
        raise CommandError(f"Kafka: {error.args[0].str()}", ExitCode.NOT_RUNNING) from error
    if isinstance(result, CommandRejected):
        raise CommandError(f"refused: {result.reason}: {result.detail}", ExitCode.REFUSED)
    if as_json:
        print_json({"tenant": tenant, **asdict(result)})
    else:
        typer.echo(f"{tenant} is released; what it missed: incidents dlq replay --all --tenant {tenant}")


def actor() -> str:
    """Who runs this command, as the record names them."""
    import getpass

    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "operator:unknown"
