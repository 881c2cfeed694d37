"""Commands of operators that change a tenant's configuration: sent to the intake, and their outcome awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.domain.commands import Command
    from streams.domain.outputs import CommandAccepted

Tenant = Annotated[str, typer.Option(help="Whose.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the outcome.")]


def actor() -> str:
    """How the record names who runs the command."""
    import getpass

    return f"user:{getpass.getuser()}"


def send(tenant: str, command: Command, timeout: float) -> CommandAccepted:
    """Carry a command out; raises ``CommandError`` when it is refused or no answer comes.

    It is a new command each time: going back to a former configuration within a day, or trying again what was refused,
    must not be answered with the first outcome.
    """
    import uuid

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.catalogue import TYPE_OF
    from streams.domain.envelope import Envelope
    from streams.domain.outputs import CommandRejected
    from streams.runtime.commanding import NoAnswer, carry_out
    from streams.runtime.settings import KafkaSettings

    envelope = Envelope(str(uuid.uuid4()), "/cli", TYPE_OF[type(command)], tenant)
    try:
        result = carry_out(KafkaSettings(), envelope, command, timeout)
    except NoAnswer as error:
        raise CommandError(str(error), ExitCode.NOT_RUNNING) from error
    if isinstance(result, CommandRejected):
        raise CommandError(f"rejected: {result.reason}: {result.detail}", ExitCode.REFUSED)
    return result
