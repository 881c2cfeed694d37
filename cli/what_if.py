"""``incidents what-if``: what another rule set would have made of what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    rules: Annotated[Path, typer.Option(help="The rule set to try.")],
    tenant: Annotated[str, typer.Option(help="Whose recorded signals.")],
    since: Annotated[str, typer.Option(help="From this recorded time on (RFC 3339).")] = "",
    until: Annotated[str, typer.Option(help="Until before this recorded time (RFC 3339).")] = "",
    service: Annotated[str, typer.Option(help="Only signals of this service.")] = "",
    form: Annotated[Literal["text", "json", "html"], typer.Option("--format", help="text, json or html.")] = "text",
    output: Annotated[Path | None, typer.Option(help="Write the report to a file.")] = None,
) -> None:
    """Decide the recorded signals again under another rule set and report what would differ.

    Nothing is written anywhere but the report. People's commands are aimed at the incident that holds the first alert
    of the one that they named; what finds no target is listed. The same input gives the same bytes.
    """
    from cli.archive import errors, histories
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import standard_error
    from cli.rules import read_file
    from infra.local.environment import apply
    from streams.agents import what_if_report
    from streams.agents.recorded import NothingThere, SpanOf, intake, record
    from streams.agents.what_if import simulate
    from streams.domain.envelope import milliseconds
    from streams.runtime.settings import KafkaSettings

    rule_set = read_file(rules).rule_set
    apply()
    try:
        span = SpanOf(tenant, milliseconds(since) if since else 0, milliseconds(until) if until else 0, service)
    except ValueError as error:
        raise CommandError(f"--since and --until are RFC 3339 times: {error}", ExitCode.USAGE) from error
    settings = KafkaSettings()
    with errors(), standard_error().status("deciding the recorded signals again"):
        try:
            log = histories()
            simulation = simulate(tenant, rule_set, intake(settings, span, log), record(settings, span, log))
        except NothingThere as error:
            raise CommandError(str(error), ExitCode.NOT_FOUND) from error
    document = what_if_report.as_document(tenant, rule_set, simulation)
    report = {
        "text": lambda: what_if_report.as_text(document),
        "json": lambda: what_if_report.as_json(document),
        "html": lambda: what_if_report.as_html(document, simulation),
    }[form]()
    if output is None:
        typer.echo(report, nl=False)
    else:
        output.write_text(report, encoding="utf-8")
