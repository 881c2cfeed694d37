"""How operators' commands go onto the intake: under which actor, and what their refusals mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.domain.commands import Command
    from streams.domain.events import CommandAccepted

Tenant = Annotated[str, typer.Option(help="Whose it is.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the outcome.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]


def actor() -> str:
    """Who runs the command."""
    import getpass

    return f"user:{getpass.getuser()}"


def send(tenant: str, command: Command, timeout: float) -> CommandAccepted:
    """Put a command on the intake and wait for its outcome; raises ``CommandError`` where it is refused or late.

    It is a new command each time: doing something once more within a day must not be answered with the first outcome.
    """
    import uuid

    from cli.errors import CommandError
    from infra.local.environment import apply
    from streams.domain.catalogue import TYPE_OF
    from streams.domain.envelope import Envelope
    from streams.domain.events import CommandRejected
    from streams.runtime.commanding import NoAnswer, carry_out
    from streams.runtime.settings import KafkaSettings

    apply()
    envelope = Envelope(str(uuid.uuid4()), "/cli", TYPE_OF[type(command)], tenant)
    try:
        result = carry_out(KafkaSettings(), envelope, command, timeout)
    except NoAnswer as error:
        raise CommandError(str(error)) from error
    if isinstance(result, CommandRejected):
        raise CommandError(f"rejected: {result.reason}: {result.detail}")
    return result
