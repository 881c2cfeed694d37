"""``incidents torture``: kills, pauses and cuts under load, and the proof that nothing is lost and nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.torture.plan import Outcome


def command(
    steps: Annotated[int, typer.Option(min=0, help="How many faults, one of each kind first; 0: only those.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal faults and deliveries.")] = 1,
    rate: Annotated[float, typer.Option(min=0.1, help="Deliveries a second.")] = 10.0,
    brokers: Annotated[int, typer.Option(min=1, max=3, help="Kafka nodes: 1 or 3.")] = 1,
    only: Annotated[str, typer.Option(help="Only faults whose name contains this, for looking into one kind.")] = "",
    at_once: Annotated[
        int, typer.Option(min=1, help="So many faults, of different parts, are in force at the same time.")
    ] = 1,
    scenario: Annotated[
        str, typer.Option(help="Play this scenario, or all: after the faults where --steps is given, else alone.")
    ] = "",
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the database is down in its scenario.")] = 10.0,
    previous: Annotated[str, typer.Option(help="The commit whose workers run beside this one's.")] = "HEAD~1",
    planted: Annotated[str, typer.Option(help="Plant this bug, or all one after the other: each must be caught.")] = "",
    results: Annotated[str, typer.Option(help="Also write the result as a Markdown page to this file.")] = "",
) -> None:
    """Start the real stack and all processes in a folder of their own, break them under load, and check every promise.

    Prints a line for each fault, a table of recovery times and one of invariants; the last line of standard output is
    one JSON object. Exits with 1 when an invariant is violated; seed, logs and evidence are then in
    .incidents/torture/<seed>.
    """
    import signal
    from pathlib import Path

    from cli.errors import CommandError
    from cli.output import print_json, standard_error
    from infra.torture import report
    from infra.torture.faults import faults
    from infra.torture.plan import Plan
    from infra.torture.run import torture
    from streams.runtime.logging import configure

    configure("torture", "CRITICAL")
    if planted:
        _try_out(planted, seed)
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    console = standard_error()
    kinds = faults(brokers)
    chosen = tuple(fault for fault in kinds if only in fault.name)
    if not chosen:
        raise CommandError(f"no fault is called {only!r}; there are: {', '.join(fault.name for fault in kinds)}")
    played = _scenarios(scenario)
    plan = Plan(
        steps,
        seed,
        chosen if steps or not played else (),
        only=only,
        rate=rate,
        brokers=brokers,
        at_once=at_once,
        scenarios=played,
        minutes=minutes,
        previous=previous,
    )
    outcome = torture(plan, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    _show(outcome)
    if results:
        Path(results).write_text(report.markdown(outcome))
    if outcome.violations:
        for line in report.violations(outcome):
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    kept = report.keep_if_failed(outcome)
    print_json(report.as_json(outcome))
    if kept is not None:
        raise CommandError(f"{outcome.violations} violations; evidence and logs: {kept.parent}")


def _scenarios(name: str) -> tuple[str, ...]:
    """The scenario of that name, or all; none without one."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from infra.torture.scenarios import SCENARIOS

    if name not in {"", "all", *SCENARIOS}:
        raise CommandError(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}", ExitCode.USAGE)
    return tuple(SCENARIOS) if name == "all" else (name,) if name else ()


def _interrupt(*_: object) -> None:
    """Everything that was started ends in order, however often one is told to hurry."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _try_out(name: str, seed: int) -> None:
    """Each planted bug must make a run fail; the last line says how many did."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json, print_table, standard_error
    from infra.torture import guards

    console = standard_error()
    try:
        bugs = guards.chosen(name)
    except KeyError:
        raise CommandError(f"no planted bug is called {name!r}", ExitCode.USAGE) from None
    tried = []
    for bug in bugs:
        console.print(f"planted: {bug.name} ({bug.breaks})", markup=False, highlight=False)
        tried.append(
            guards.try_out(
                bug, seed, lambda line: console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
            )
        )
    rows = [(one.bug.name, "caught" if one.caught else "NOT CAUGHT", one.by) for one in tried]
    print_table(("bug", "", "by"), rows, title="Planted bugs")
    missed = [one.bug.name for one in tried if not one.caught]
    print_json({"planted": len(tried), "caught": len(tried) - len(missed)})
    if missed:
        raise CommandError(f"not caught: {', '.join(missed)}")


def _show(outcome: Outcome) -> None:
    from cli.output import print_table
    from infra.torture import report

    print_table(("fault", "steps", "p50 s", "p99 s", "max s"), report.fault_rows(outcome), title="Recovery")
    print_table(("invariant", "checked on", "holds"), report.invariant_rows(outcome), title="Invariants")
