"""The `incidents` command: builds the application from the registry and turns errors into messages and exit codes."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.registry import COMMANDS


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"incidents {version('incidents')}")
        except PackageNotFoundError:
            typer.echo("incidents (not installed; run from its source)")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Event-sourced incident management on Kafka: lose nothing, explain every decision, replay any of them."""
    del version  # its callback has done the work


def build() -> typer.Typer:
    """The application with every command of the registry."""
    app = typer.Typer(
        name="incidents",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # a failure that nobody foresaw keeps its plain traceback
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for command in COMMANDS:
        module, _, attribute = command.target.partition(":")
        target = getattr(import_module(module), attribute)
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=command.name, rich_help_panel=command.panel, no_args_is_help=True)
        else:
            app.command(command.name, rich_help_panel=command.panel)(target)
    return app


def _exit_code(error: Exception) -> ExitCode:
    from infra.local.errors import AnotherCopyRunning, NotRunning, PrerequisiteMissing, RunsElsewhere

    match error:
        case CommandError():
            return error.code
        case PrerequisiteMissing():
            return ExitCode.PREREQUISITE
        case AnotherCopyRunning() | RunsElsewhere():
            return ExitCode.ALREADY_RUNNING
        case NotRunning():
            return ExitCode.NOT_RUNNING
        case _:
            return ExitCode.FAILED


def _wrong_setting(error: ValueError) -> str:
    """The message for a setting in the environment that its settings class refuses; empty for any other error."""
    from pydantic import ValidationError
    from pydantic_settings import BaseSettings

    if not isinstance(error, ValidationError):
        return ""
    prefixes = {kind.__name__: kind.model_config.get("env_prefix", "") for kind in BaseSettings.__subclasses__()}
    if error.title not in prefixes:
        return ""
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{prefixes[error.title]}{first['loc'][0]}".upper() + f": {first['msg']}"


def main() -> None:
    """Entry point of the `incidents` script."""
    from cli.output import print_error
    from infra.local.errors import StackError

    try:
        build()(prog_name="incidents")
    except (CommandError, StackError) as error:
        print_error(str(error))
        sys.exit(_exit_code(error))
    except ValueError as error:
        message = _wrong_setting(error)
        if not message:
            raise
        print_error(message)
        sys.exit(ExitCode.USAGE)


if __name__ == "__main__":
    main()
