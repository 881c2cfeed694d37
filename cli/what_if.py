"""``incidents what-if``: what another rule set would have made of what was recorded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from streams.agents.recorded import Log, SpanOf

Since = Annotated[str, typer.Option(help="From this recorded time on (RFC 3339).")]
Until = Annotated[str, typer.Option(help="Until before this recorded time (RFC 3339).")]
Source = Annotated[Literal["log", "archive"], typer.Option("--from", help="Kafka, or the archive's files.")]


def open_log(source: str) -> Log:
    """Kafka (``log``) or the archive, as a source of recorded signals."""
    from streams.agents.recorded import KafkaLog
    from streams.runtime.settings import KafkaSettings

    if source == "log":
        return KafkaLog(KafkaSettings())
    from cli.archive import open_archive
    from streams.archive.recorded import ArchivedLog

    return ArchivedLog(open_archive())


def span_of(tenant: str, since: str, until: str, service: str = "") -> SpanOf:
    """The span that options name; raises ``CommandError`` for what is no time."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.agents.recorded import SpanOf
    from streams.domain.envelope import milliseconds

    try:
        return SpanOf(tenant, milliseconds(since) if since else 0, milliseconds(until) if until else 0, service)
    except ValueError as error:
        raise CommandError(f"--since and --until are RFC 3339 times: {error}", ExitCode.USAGE) from error


def command(
    rules: Annotated[Path, typer.Option(help="The rule set to try.")],
    tenant: Annotated[str, typer.Option(help="Whose recorded signals.")],
    since: Since = "",
    until: Until = "",
    service: Annotated[str, typer.Option(help="Only signals of this service.")] = "",
    form: Annotated[Literal["text", "json", "html"], typer.Option("--format", help="text, json or html.")] = "text",
    source: Source = "log",
    output: Annotated[Path | None, typer.Option(help="Write the report to a file.")] = None,
) -> None:
    """Decide the recorded signals again under another rule set and report what would differ.

    Nothing is written anywhere but the report. People's commands are aimed at the incident that holds the first alert
    of the one that they named; what finds no target is listed. The same input gives the same bytes.
    """
    from cli.archive import errors
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import standard_error
    from cli.rules import read_file
    from infra.local.environment import apply
    from streams.agents import read_ahead, what_if_report
    from streams.agents.recorded import NothingThere, record
    from streams.agents.what_if import simulate
    from streams.runtime import collector

    rule_set = read_file(rules).rule_set
    collector.stop()
    apply()
    span = span_of(tenant, since, until, service)
    with standard_error().status("deciding the recorded signals again"), errors():
        log = open_log(source)
        try:
            with read_ahead.messages(partial(open_log, source), log, span) as intake:
                simulation = simulate(tenant, rule_set, intake, record(log, span))
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
