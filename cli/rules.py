"""``incidents rules``: rule sets as files with their own tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.commanding import Tenant, Timeout

if TYPE_CHECKING:
    from streams.agents.rule_files import RuleFile

app = typer.Typer(help="Rule sets of correlation: check, test, compare, publish.")

File = Annotated[Path, typer.Argument(help="A rule set: YAML as in docs/examples/rules.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]


@app.command()
def lint(file: File, as_json: AsJson = False) -> None:
    """Say what is wrong with a file, each problem with its line; exit 1 if anything is."""
    from cli.output import print_json

    found = read_file(file)
    summary = {"name": found.rule_set.name, "version": found.rule_set.version, "rules": len(found.rule_set.rules)}
    if as_json:
        print_json({**summary, "problems": []})
    else:
        typer.echo(f"{file}: {summary['name']} version {summary['version']}, {summary['rules']} rules, nothing wrong")


@app.command("test")
def run_tests(file: File, as_json: AsJson = False) -> None:
    """Run the tests in a file against its rules, decided as the orchestrator decides; exit 1 if one fails."""
    from cli.errors import CommandError
    from cli.output import print_json
    from streams.agents.rule_tests import run_test

    found = read_file(file)
    results = [(one, list(run_test(found.rule_set, one).differs(one))) for one in found.tests]
    failed = sum(bool(differences) for _, differences in results)
    if as_json:
        shown = [
            {
                "name": one.name,
                "passed": not differences,
                "differences": [{"of": of, "expected": wanted, "found": got} for of, wanted, got in differences],
            }
            for one, differences in results
        ]
        print_json({"tests": shown, "passed": len(results) - failed, "failed": failed})
    else:
        for one, differences in results:
            typer.echo(f"{'FAILED' if differences else 'ok    '} {one.name}")
            for of, wanted, got in differences:
                typer.echo(f"       {of}: expected {wanted}\n       {' ' * len(of)}  found    {got}")
        typer.echo(f"{len(results) - failed} passed, {failed} failed")
    if failed:
        raise CommandError(f"{failed} of {len(results)} tests failed")


@app.command()
def diff(old: File, new: File, as_json: AsJson = False) -> None:
    """Compare two rule sets: what was added, removed and changed."""
    from cli.output import print_json
    from streams.agents.rule_files import differences

    found = differences(read_file(old).rule_set, read_file(new).rule_set)
    if as_json:
        print_json(found)
        return
    for line in found or [{"what": "nothing", "name": "", "change": "they are the same", "detail": ""}]:
        typer.echo(" ".join(filter(None, (line["change"], line["what"], line["name"], line["detail"]))))


@app.command()
def publish(
    file: File,
    tenant: Tenant,
    shadow: Annotated[bool, typer.Option("--shadow", help="Let it run beside the one that decides.")] = False,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """Make a rule set the tenant's own, once its tests pass; it counts for every signal from then on.

    With --shadow it decides nothing: a simulator runs it on live traffic and its report grows (incidents rules shadow).
    """
    from cli.commanding import actor, send
    from cli.errors import CommandError
    from cli.output import print_json
    from infra.local.environment import apply
    from streams.agents.rule_tests import failed as failing

    found = read_file(file)
    if failed := failing(found):
        raise CommandError(f"not published, its tests fail: {', '.join(failed)}")
    apply()
    command = found.command(actor(), "shadow" if shadow else "active")
    send(tenant, command, timeout)
    if as_json:
        print_json({"tenant": tenant, "name": command.name, "version": command.version, "stage": command.stage})
    elif shadow:
        typer.echo(f"{command.name} version {command.version} runs in the shadow of {tenant}'s rules from now on")
    else:
        typer.echo(f"{tenant} goes by {command.name} version {command.version} from now on")


@app.command()
def explain(
    alert: Annotated[str, typer.Argument(help="The delivery id of a signal, as /api/v1/alerts shows it.")],
    tenant: Annotated[str, typer.Option(help="Whose signal it is.")],
    source: Annotated[str, typer.Option(help="Its CloudEvents source, where the id alone is not unique.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say why an alert is in its incident: rule, version, key, and why the other rules did not decide."""
    from dataclasses import asdict

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json, print_table
    from infra.local.environment import apply
    from streams.agents.explain import explain as explained
    from streams.agents.recorded import KafkaLog, SpanOf, record
    from streams.runtime.settings import KafkaSettings

    apply()
    with KafkaLog(KafkaSettings()) as log:
        found = explained(alert, record(log, SpanOf(tenant)), source)
    if found is None:
        raise CommandError(f"the record of {tenant} names no signal {alert}", ExitCode.NOT_FOUND)
    if as_json:
        print_json(asdict(found))
        return
    where = f"INC-{found.number} ({found.incident_id})" if found.incident_id else "in no incident"
    typer.echo(f"{found.id}\n  {found.disposition}, {where}{': ' if found.reason else ''}{found.reason}")
    for line in found.family:
        typer.echo(f"  the incident is {line}")
    if found.relation:
        typer.echo(f"  the incident is a {found.relation} of an earlier one")
    if found.disposition != "attached" or not found.verdicts:
        return
    decided = f"by rule {found.rule} version {found.version}, key {found.key}" if found.rule else "under no rule"
    typer.echo(f"  grouped {decided}; the rule set was {found.rule_set}")
    first = next((one.rule for one in found.verdicts if one.applies), "")
    rows = [
        (one.rule, "decided" if one.rule == first else "lost to it" if one.applies else "does not apply", one.why,
         ", ".join(f"{name}={value}" for name, value in one.key.items()))
        for one in found.verdicts
    ]  # fmt: skip
    print_table(("rule", "outcome", "why", "key values"), rows)


def read_file(file: Path) -> RuleFile:
    """The rule set of a file; raises ``CommandError`` with every problem that was found."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.agents.rule_files import BadRules, parse

    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}", ExitCode.USAGE) from error
    except BadRules as error:
        raise CommandError("\n".join(f"{file}: {problem}" for problem in error.problems)) from error
