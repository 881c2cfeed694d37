"""``incidents apply-rules``: the tenant's rule set applied to what was recorded before it decided."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.commanding import Tenant, Timeout
from cli.what_if import Until

if TYPE_CHECKING:
    from streams.agents.applying import Plan
    from streams.agents.recorded import SpanOf

_EXAMPLES = 10


def command(
    rules: Annotated[Path, typer.Option(help="The rule set; it must be the one that decides.")],
    tenant: Tenant,
    since: Annotated[str, typer.Option(help="From this recorded time on (RFC 3339).")],
    until: Until = "",
    accept: Annotated[str, typer.Option(help="Carry out the plan with this id, as --dry-run shows it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    timeout: Timeout = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value.")] = False,
) -> None:
    """Merge and split recorded incidents so that they are as this rule set would have made them.

    Incidents that are closed, archived or began before the span are named and not touched. Nobody is notified. What was
    done is no longer part of the next plan, so that a run that was interrupted is taken up by running it again.
    """
    from cli.archive import errors
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from cli.rules import read_file
    from cli.what_if import span_of
    from infra.local.environment import apply

    rule_set = read_file(rules).rule_set
    apply()
    span = span_of(tenant, since, until)
    with errors():
        plan = _planned(rule_set, span)
    if accept and accept != plan.plan_id:
        raise CommandError(f"the plan is {plan.plan_id} by now, not {accept}: look at it again", ExitCode.REFUSED)
    if not as_json:
        _print(plan)
    if plan.steps and not dry_run and not accept:
        _confirm(plan)
    done = 0 if dry_run or not plan.steps else _carry_out(plan, span, timeout)
    if as_json:
        print_json({**plan.as_document(), "steps": len(plan.steps), "done": done})
    elif done:
        typer.echo(f"{done} of {len(plan.steps)} steps done")


def _planned(rule_set: Any, span: SpanOf) -> Plan:
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import standard_error
    from cli.what_if import open_log
    from streams.agents import read_ahead
    from streams.agents.applying import Held, plan
    from streams.agents.recorded import NothingThere, record
    from streams.agents.what_if import simulate
    from streams.runtime import collector

    collector.stop()
    held = Held()
    log = open_log("log")
    with standard_error().status("deciding the recorded signals again"):
        try:
            with read_ahead.messages(partial(open_log, "log"), log, span) as intake:
                simulation = simulate(span.tenant, rule_set, intake, held.through(record(log, span)))
        except NothingThere as error:
            raise CommandError(str(error), ExitCode.NOT_FOUND) from error
    return plan(simulation, held, rule_set.label)


def _print(plan: Plan) -> None:
    document = plan.as_document()
    typer.echo(f"plan {plan.plan_id} of rules {plan.rule_set}")
    typer.echo(f"{len(document['merges'])} incidents become part of another")
    for one in document["merges"][:_EXAMPLES]:
        typer.echo(f"  {one['incident']} into {one['into']}")
    typer.echo(f"{len(document['splits'])} splits")
    for one in document["splits"][:_EXAMPLES]:
        into = one["into"].replace("new:", "a new incident ")
        typer.echo(f"  {one['alerts']} alerts of {one['incident']} into {into} {one['title'][:50]}")
    typer.echo(f"{len(plan.left)} incidents are left as they are")
    for left in plan.left[:_EXAMPLES]:
        typer.echo(f"  {f'INC-{left.number}' if left.number else left.incident}: {left.why}")
    if plan.stay:
        typer.echo(f"{plan.stay} alerts stay where they are")


def _confirm(plan: Plan) -> None:
    import sys

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    if not sys.stdin.isatty():
        raise CommandError(f"look at the plan, then run it with --accept {plan.plan_id}", ExitCode.USAGE)
    typer.confirm("Carry it out?", abort=True)


def _carry_out(plan: Plan, span: SpanOf, timeout: float) -> int:
    """Send the commands one after the other; how many were carried out."""
    from cli.commanding import actor, send
    from cli.output import standard_error
    from streams.domain.commands import ApplyRules

    name, _, version = plan.rule_set.rpartition(":")

    def note(stage: Any) -> None:
        counts = plan.count("merge"), plan.count("split"), len(plan.left)
        about = ApplyRules(name, int(version), plan.plan_id, stage, actor(), span.since, span.until, *counts)
        send(span.tenant, about, timeout)

    note("started")
    made: dict[str, str] = {}
    with standard_error().status("") as status:
        for place, step in enumerate(plan.steps):
            status.update(f"{place} of {len(plan.steps)} steps")
            result = send(span.tenant, plan.command(place, made, actor()), timeout)
            if step.change == "split":
                made[step.into] = result.incident_id
    note("finished")
    return len(plan.steps)
