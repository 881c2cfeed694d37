"""`incidents doctor`: is everything as it must be, and if not, what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from cli.diagnosis.finding import Finding


def command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array of findings.")] = False,
) -> None:
    """Check this machine, the servers and the processes. Exit code 1 when a check failed; warnings do not count."""
    from dataclasses import asdict

    from cli.output import print_json, standard_output

    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        standard_output().print(_table(findings))
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def examine() -> list[Finding]:
    """Every check, in the order in which one would look."""
    import os

    from cli.diagnosis import database, kafka, machine
    from connectors.kit.secrets import ConnectorSettings
    from infra.local import stack
    from infra.local.environment import apply
    from infra.local.status import status
    from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings

    own = stack.open_stack()
    is_local = not os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    rows = status(own)["processes"]
    apply()
    return [
        machine.check_python(),
        machine.check_local_stack(is_needed=is_local),
        machine.check_disk(own.settings.home, own.settings.min_free_mb),
        machine.check_secret_key(ConnectorSettings()),
        *kafka.check_kafka(KafkaSettings()),
        *database.check_database(DatabaseSettings(), KafkaSettings()),
        database.check_storage(ObjectStorageSettings()),
        *map(machine.check_process, rows),
    ]


def _table(findings: list[Finding]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "state", "what was found", "what to do")
    colours = {"ok": "green", "warning": "yellow", "failed": "red"}
    for finding in findings:
        state = Text(finding.state, style=colours[finding.state])
        table.add_row(finding.name, state, Text(finding.detail), Text(finding.remedy))
    return table
