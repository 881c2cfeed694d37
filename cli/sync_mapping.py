"""``incidents sync mapping``: which fields of incidents and tickets correspond, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commanding import Tenant, Timeout, actor, send

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]

if TYPE_CHECKING:
    from streams.agents.mapping_files import MappingFile

app = typer.Typer(help="Mappings of ticket systems: defaults, check, preview, publish.")

File = Annotated[Path, typer.Argument(help="A mapping: YAML as `incidents sync mapping defaults` prints it.")]


@app.command()
def defaults(
    connector: Annotated[str, typer.Argument(help="servicenow, jira, incidentio or pagerduty_records.")],
) -> None:
    """Print the mapping that a ticket system begins with, to be edited and published."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from schemas import default_mapping

    try:
        typer.echo(default_mapping(connector), nl=False)
    except FileNotFoundError as error:
        raise CommandError(
            f"no default mapping for {connector}: servicenow, jira, incidentio or pagerduty_records", ExitCode.NOT_FOUND
        ) from error


@app.command()
def lint(file: File, as_json: AsJson = False) -> None:
    """Say what is wrong with a file (exit 1), and what a mapping that is right cannot do, with the consequence."""
    from cli.output import print_json
    from streams.agents.mapping_files import lint as warnings

    found = read_file(file)
    told = warnings(found.mapping)
    if as_json:
        print_json({"connector": found.mapping.connector, "version": found.mapping.version, "warnings": told})
        return
    for warning in told:
        typer.echo(f"{file}: warning: {warning}")
    typer.echo(f"{file}: {found.mapping.connector} version {found.mapping.version}, {len(told)} warnings")


@app.command()
def preview(
    file: File,
    record: Annotated[Path, typer.Option(help="A real record: a JSON object of raw values by external field.")],
    as_json: AsJson = False,
) -> None:
    """Show what each mapped field of a real record would mean for an incident."""
    import json

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json, print_table
    from streams.agents.mapping_files import preview as previewed

    try:
        document = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {record}: {error}", ExitCode.USAGE) from error
    if not isinstance(document, dict):
        raise CommandError(f"{record}: not a JSON object", ExitCode.USAGE)
    values = {name: value for name, value in document.items() if isinstance(value, str)}
    rows = previewed(read_file(file).mapping, values)
    if as_json:
        print_json(rows)
    else:
        print_table(tuple(rows[0]), [tuple(row.values()) for row in rows])


@app.command()
def publish(
    file: File, integration: Annotated[str, typer.Argument(help="Id of the integration.")], tenant: Tenant,
    timeout: Timeout = 10.0, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make a mapping the integration's own; it counts for every change from then on."""
    from cli.output import print_json
    from infra.local.environment import apply

    found = read_file(file)
    apply()
    send(tenant, found.command(integration, actor()), timeout)
    shown = {"tenant": tenant, "integration_id": integration, "version": found.mapping.version}
    if as_json:
        print_json(shown)
    else:
        typer.echo(f"{integration} goes by {file.name} version {found.mapping.version} from now on")


def read_file(file: Path) -> MappingFile:
    """The mapping of a file; raises ``CommandError`` with every problem that was found."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.agents.mapping_files import BadMapping, parse

    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}", ExitCode.USAGE) from error
    except BadMapping as error:
        raise CommandError("\n".join(f"{file}: {problem}" for problem in error.problems)) from error
