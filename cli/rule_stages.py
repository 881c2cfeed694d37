"""``incidents rules shadow | promote | rollback | withdraw``: the stages of a rule set."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cli.commanding import Tenant, Timeout
from cli.rules import AsJson, app

RuleSetName = Annotated[str, typer.Argument(metavar="NAME:VERSION", help="As incidents rules shadow shows it.")]


@app.command()
def shadow(
    tenant: Tenant,
    form: Annotated[Literal["text", "json", "html"], typer.Option("--format", help="text, json or html.")] = "text",
) -> None:
    """Show the report of the draft that runs in the shadow, as far as it has grown."""
    import orjson
    import psycopg

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from infra.local.environment import apply
    from projections import simulations
    from projections.connections import connect
    from streams.agents.what_if_report import as_text
    from streams.domain.envelope import rfc3339
    from streams.runtime.settings import DatabaseSettings

    apply()
    try:
        with connect(DatabaseSettings(), "projector", name="rules-shadow") as connection:
            found = simulations.shadow_of(connection, tenant)
    except psycopg.OperationalError as error:
        raise CommandError(f"PostgreSQL does not answer: {error}", ExitCode.NOT_RUNNING) from error
    if found is None:
        raise CommandError(f"no draft runs in the shadow of {tenant}'s rules, or no simulator", ExitCode.NOT_FOUND)
    request, grown, report, page = found
    if form == "text":
        until = rfc3339(request["until"]) if request["until"] else "nothing yet"
        typer.echo(f"live since {rfc3339(request['since'])}, up to {until}; read {grown.isoformat()}")
        typer.echo(as_text(orjson.loads(report)), nl=False)
    else:
        typer.echo(report if form == "json" else page, nl=False)


@app.command()
def promote(name: RuleSetName, tenant: Tenant, timeout: Timeout = 10.0, as_json: AsJson = False) -> None:
    """Let the draft decide from now on; the rule set that did can be gone back to."""
    _change("promote", name, (tenant, timeout), "decides for {tenant} from now on", as_json=as_json)


@app.command()
def rollback(name: RuleSetName, tenant: Tenant, timeout: Timeout = 10.0, as_json: AsJson = False) -> None:
    """Go back to the rule set that decided before this one."""
    _change("roll_back", name, (tenant, timeout), "was taken back for {tenant}", as_json=as_json)


@app.command()
def withdraw(name: RuleSetName, tenant: Tenant, timeout: Timeout = 10.0, as_json: AsJson = False) -> None:
    """Take the draft out of the shadow."""
    _change("withdraw", name, (tenant, timeout), "no longer runs in the shadow of {tenant}'s rules", as_json=as_json)


def _change(
    what: Literal["promote", "roll_back", "withdraw"], name: str, of: tuple[str, float], said: str, *, as_json: bool
) -> None:
    from cli.commanding import actor, send
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from infra.local.environment import apply
    from streams.domain.commands import ChangeRuleSet

    rule_set, _, version = name.rpartition(":")
    if not rule_set or not version.isdecimal():
        raise CommandError(f"{name!r} is no NAME:VERSION", ExitCode.USAGE)
    apply()
    tenant, timeout = of
    send(tenant, ChangeRuleSet(what, rule_set, int(version), actor()), timeout)
    if as_json:
        print_json({"tenant": tenant, "change": what, "name": rule_set, "version": int(version)})
    else:
        typer.echo(f"{name} {said.format(tenant=tenant)}")
