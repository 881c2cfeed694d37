"""``incidents migrate``: brings the database schema to this version's."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    check: Annotated[bool, typer.Option("--check", help="Only check; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Apply what is missing of the database schema; safe to run at any time, also by several at once."""
    from sqlalchemy.exc import OperationalError

    from cli.errors import CommandError
    from cli.output import print_json
    from infra.local.environment import apply
    from projections import migrate
    from streams.runtime.settings import DatabaseSettings

    apply()
    settings = DatabaseSettings()
    try:
        if check:
            migrate.check(settings)
        applied = [] if check else migrate.upgrade(settings)
    except migrate.SchemaMismatch as error:
        raise CommandError(f"{error} (run: incidents migrate)") from error
    except OperationalError as error:
        raise CommandError(f"PostgreSQL does not answer: {error.orig}") from error
    if as_json:
        print_json({"schema": migrate.head(), "applied": applied})
    else:
        typer.echo(f"schema {migrate.head()}: {'applied ' + ', '.join(applied) if applied else 'up to date'}")
