"""`incidents integration`: connections of tenants to their providers."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connectors.kit.integrations import Connection
    from connectors.kit.secrets import SecretBox

app = typer.Typer(help="Connect tenants to their providers: webhooks in, side effects out.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
SecretFile = Annotated[
    str,
    typer.Option(metavar="FILE", help="Read the webhook secret from a file ('-': standard input); else one is made."),
]
ApiTokenFile = Annotated[
    str, typer.Option(metavar="FILE", help="Read the provider's API token, for side effects, from a file ('-': stdin).")
]


@app.command()
def add(
    connector: Annotated[str, typer.Argument(help="The connector, e.g. pagerduty or servicenow.")],
    tenant: Annotated[str, typer.Option(help="Whose integration it is.")],
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    secret_file: SecretFile = "",
    api_token_file: ApiTokenFile = "",
    config: Annotated[Path | None, typer.Option(help="A JSON file with the connector's settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add an integration and print where the provider sends its webhooks, with the secret, this once.

    PagerDuty and incident.io issue the webhook secret: make the webhook there and give its secret with --secret-file.
    """
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit import integrations
    from connectors.registry import CONNECTORS

    if connector not in CONNECTORS:
        raise CommandError(f"no connector {connector}; there are {', '.join(sorted(CONNECTORS))}", ExitCode.NOT_FOUND)
    with _database() as (connection, box, public_url):
        added = integrations.add(
            connection,
            box,
            CONNECTORS[connector],
            tenant,
            name=name,
            config=_settings_of(config),
            webhook_secret=_read(secret_file),
            api_token=_read(api_token_file),
        )
    _print(
        {
            "integration_id": added.integration_id,
            "webhook_url": f"{public_url.rstrip('/')}/api/v1/webhooks/{connector}/{added.integration_id}",
            "secret": added.secret.value,
        },
        as_json=as_json,
    )


@app.command("list")
def list_all(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    as_json: AsJson = False,
) -> None:
    """List integrations; secrets are never shown again."""
    from dataclasses import asdict

    from rich.table import Table

    from cli.output import print_json, standard_output
    from connectors.kit import integrations

    with _database() as (connection, _, _):
        found = integrations.list_all(connection, tenant)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = Table("Integration", "Tenant", "Connector", "Name", "Secrets", "State")
    for one in found:
        state = "active" if one.disabled_at is None else f"disabled {one.disabled_at:%Y-%m-%d}"
        table.add_row(one.integration_id, one.tenant_id, one.connector, one.name, str(one.secrets), state)
    standard_output().print(table)


@app.command()
def rotate(
    integration_id: Annotated[str, typer.Argument(help="Which one.")],
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old secret still counts.")] = 24.0,
    secret_file: SecretFile = "",
    api_token_file: ApiTokenFile = "",
    as_json: AsJson = False,
) -> None:
    """Give an integration a new secret; the old one counts until the overlap ends."""
    from connectors.kit import integrations
    from connectors.kit.contract import Secret

    given = _read(secret_file)
    secret = Secret("webhook", given) if given else None
    if api_token_file:
        secret = Secret("api_token", _read(api_token_file))
    with _database() as (connection, box, _):
        new = integrations.rotate(connection, box, integration_id, secret, int(overlap_hours * 3600))
    shown = {"secret": new.value} if new.kind == "webhook" else {}
    _print({"integration_id": integration_id, "rotated": new.kind, **shown}, as_json=as_json)


@app.command()
def update(
    integration_id: Annotated[str, typer.Argument(help="Which one.")],
    name: Annotated[str, typer.Option(help="What people shall call it.")] = "",
    config: Annotated[Path | None, typer.Option(help="A JSON file with all of the connector's settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the name or the settings of an integration, from the next call on; tickets stay linked, secrets stay.

    The file replaces the settings as a whole. Another account of the provider is another integration: linked tickets
    would be looked for there, and not found.
    """
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit import integrations
    from connectors.registry import CONNECTORS

    if not name and config is None:
        raise CommandError("nothing to change: --name or --config", ExitCode.USAGE)
    given = _settings_of(config) if config is not None else None
    with _database() as (connection, _, _):
        integrations.update(connection, CONNECTORS, integration_id, name=name, config=given)
    _print({"integration_id": integration_id, "state": "updated"}, as_json=as_json)


@app.command()
def disable(
    integration_id: Annotated[str, typer.Argument(help="Which one.")],
    as_json: AsJson = False,
) -> None:
    """Close an integration at once: webhooks to it answer 404 and its side effects stop."""
    from connectors.kit import integrations

    with _database() as (connection, _, _):
        integrations.disable(connection, integration_id)
    _print({"integration_id": integration_id, "state": "disabled"}, as_json=as_json)


@contextmanager
def _database() -> Iterator[tuple[Connection, SecretBox, str]]:
    """A connection, the key, and the API's public address; what goes wrong becomes a message and an exit code."""
    import psycopg

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from connectors.kit import integrations
    from connectors.kit.secrets import ConnectorSettings, SecretBox, SecretsSealed
    from infra.local.environment import apply
    from streams.runtime.settings import DatabaseSettings

    apply()
    settings = ConnectorSettings()
    try:
        with integrations.connect(DatabaseSettings()) as connection:
            yield connection, SecretBox(settings), settings.public_url
    except integrations.IntegrationRefused as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error
    except SecretsSealed as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    except psycopg.errors.UndefinedTable as error:
        raise CommandError("the database has no tables yet (incidents migrate)", ExitCode.NOT_RUNNING) from error
    except psycopg.OperationalError as error:
        raise CommandError(f"PostgreSQL does not answer: {error}", ExitCode.NOT_RUNNING) from error


def _read(path: str) -> str:
    import sys

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    if not path:
        return ""
    try:
        content = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}", ExitCode.USAGE) from error
    if not content.strip():
        raise CommandError(f"{path} holds no secret", ExitCode.USAGE)
    return content.strip()


def _settings_of(path: Path | None) -> dict[str, Any]:
    import orjson

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    if path is None:
        return {}
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}", ExitCode.USAGE) from error
    if not isinstance(document, dict):
        raise CommandError(f"{path} must hold a JSON object", ExitCode.USAGE)
    return document


def _print(values: dict[str, str], *, as_json: bool) -> None:
    from cli.output import print_json

    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        typer.echo(f"{name:15} {value}")
