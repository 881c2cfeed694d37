"""`incidents token`: API tokens, for operators with access to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from policy.decision import Action
    from projections.connections import AsyncConnection

app = typer.Typer(help="API tokens of a tenant: create, list, rotate, revoke.")

T = TypeVar("T")
Tenant = Annotated[str, typer.Option(help="Whose token it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TokenId = Annotated[str, typer.Argument(help="The token's id: the middle part of its text.")]


@app.command()
def create(
    tenant: Tenant,
    role: Annotated[str, typer.Option(help="viewer, responder or admin.")],
    name: Annotated[str, typer.Option(help="Who uses it; shown in timelines.")] = "",
    expires: Annotated[str, typer.Option(help="When it ends: days from now (30d), hours (12h) or RFC 3339.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a token and print its text, which is shown only now."""
    from api import tokens
    from api.rest.tokens import issued_view
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from policy.decision import ROLES, Action

    chosen = next((known for known in ROLES if known == role), None)
    if chosen is None:
        raise CommandError(f"no role {role!r}: choose from {', '.join(ROLES)}", ExitCode.USAGE)
    expires_at = _instant(expires) if expires else None

    async def issue(connection: AsyncConnection) -> tokens.IssuedToken:
        return await tokens.issue(connection, tenant, chosen, name or f"cli-{role}", expires_at)

    issued = _run(tenant, Action.MANAGE_TOKENS, issue)
    if as_json:
        print_json(issued_view(issued))
    else:
        typer.echo(issued.text)


@app.command("list")
def list_tokens(tenant: Tenant, as_json: AsJson = False) -> None:
    """List the tenant's tokens, those that are over too; never their secrets."""
    from api import tokens
    from api.rest.tokens import view
    from cli.output import print_json, print_table
    from policy.decision import Action

    found = _run(tenant, Action.READ_TOKENS, lambda connection: tokens.list_tokens(connection, tenant))
    if as_json:
        print_json([view(token) for token in found])
        return
    rows = [(t.token_id, t.name, t.role, f"{t.created_at:%F %T}", _state(t.expires_at, t.revoked_at)) for t in found]
    print_table(("id", "name", "role", "created", "state"), rows, title=f"tokens of {tenant}")


@app.command()
def rotate(
    token_id: TokenId,
    tenant: Tenant,
    overlap: Annotated[int, typer.Option(min=0, help="How long the old token goes on, in seconds.")] = 3600,
    as_json: AsJson = False,
) -> None:
    """Replace a token by a new one with the same name and role; the old one goes on for the overlap."""
    from api import tokens
    from api.rest.tokens import issued_view
    from cli.output import print_json
    from policy.decision import Action

    span = timedelta(seconds=overlap)
    issued = _run(tenant, Action.MANAGE_TOKENS, lambda connection: tokens.rotate(connection, tenant, token_id, span))
    if issued is None:
        raise _unknown(token_id, tenant)
    if as_json:
        print_json(issued_view(issued))
    else:
        typer.echo(issued.text)


@app.command()
def revoke(token_id: TokenId, tenant: Tenant) -> None:
    """End a token at once."""
    from api import tokens
    from policy.decision import Action

    if not _run(tenant, Action.MANAGE_TOKENS, lambda connection: tokens.revoke(connection, tenant, token_id)):
        raise _unknown(token_id, tenant)
    typer.echo(f"revoked {token_id}", err=True)


def _run(tenant: str, action: Action, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do ``work`` in a session of the tenant, as an operator whom the decision point lets do it."""
    import psycopg

    from api.auth import require
    from api.tokens import register_tenant
    from cli.errors import CommandError
    from infra.local.environment import apply
    from policy.decision import Principal, decide
    from projections.connections import parameters
    from streams.runtime.settings import DatabaseSettings

    require(decide, Principal(tenant, "admin", "cli", "operator"), action)
    apply()
    arguments: dict[str, Any] = parameters(DatabaseSettings(), "api", "incidents-cli")

    async def session() -> T:
        async with await psycopg.AsyncConnection.connect(**arguments) as connection:
            await connection.execute("SELECT set_config('incidents.tenant', %s, true)", [tenant])
            await register_tenant(connection, tenant)
            return await work(connection)

    try:
        return asyncio.run(session())
    except psycopg.OperationalError as error:
        raise CommandError(f"the database does not answer: {str(error).strip()}") from error


def _instant(text: str) -> datetime:
    from datetime import UTC

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    now = datetime.now(UTC)
    units = {"d": timedelta(days=1), "h": timedelta(hours=1)}
    if text[-1:] in units and text[:-1].isdigit():
        return now + int(text[:-1]) * units[text[-1]]
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is neither 30d, 12h nor RFC 3339", ExitCode.USAGE) from error
    if instant.tzinfo is None or instant <= now:
        raise CommandError(f"{text!r} has no offset or is in the past", ExitCode.USAGE)
    return instant


def _state(expires_at: datetime | None, revoked_at: datetime | None) -> str:
    if revoked_at is not None:
        return f"revoked {revoked_at:%F %T}"
    return f"expires {expires_at:%F %T}" if expires_at else "valid"


def _unknown(token_id: str, tenant: str) -> Exception:
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    return CommandError(f"{tenant} has no valid token {token_id}", ExitCode.NOT_FOUND)
