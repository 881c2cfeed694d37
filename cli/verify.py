"""`incidents verify`: whether the record and every copy of it are what they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.archive.deciding import Decided
    from streams.archive.verifying import Verified
    from streams.runtime.settings import KafkaSettings


def command(
    incident: Annotated[str, typer.Option(help="Only what concerns this incident (its id).")] = "",
    every: Annotated[bool, typer.Option("--all", help="The whole record, with digests of all read models.")] = False,
    tenant: Annotated[str, typer.Option(help="Only what concerns this tenant.")] = "",
    decisions: Annotated[bool, typer.Option("--decisions", help="Decide the intake again and compare.")] = False,
    from_snapshot: Annotated[
        bool, typer.Option("--from-snapshot", help="With --decisions: begin at the newest archived state.")
    ] = False,
    generation: Annotated[int, typer.Option(min=0, help="Of the timeline's rows; 0: the active one.")] = 0,
    digests: Annotated[
        bool, typer.Option("--digests", help="Also make the read models anew and compare digests of all their rows.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes that verify; 0: one for each core.")] = 0,
    archive: Annotated[bool, typer.Option(help="Hold the log against the archive and its signed checkpoints.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value.")] = False,
) -> None:
    """Check hash chains, sequences and digests of the log against PostgreSQL, the state and the archive.

    Names the first bad event of each tenant and what is wrong with it. Exit code 1 when anything is.
    """
    import os

    from cli.archive import errors, open_archive
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.archive.checkpoints import Verifier
    from streams.archive.deciding import Deciding
    from streams.archive.settings import SigningSettings
    from streams.archive.verifying import Verification
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    if every and (incident or tenant):
        raise CommandError("--all goes with neither --incident nor --tenant", ExitCode.USAGE)
    digests = digests or every
    with errors(), _progress() as progress:
        copies = open_archive()  # also reads the environment file, so it comes first
        used = copies if archive else None
        kafka = KafkaSettings()
        verifier = Verifier(SigningSettings()) if archive else None
        verification = Verification(kafka, DatabaseSettings(), used, verifier, tenant, generation)
        found = verification.run(progress, jobs=jobs or os.cpu_count() or 1)
        if digests:
            found.problems += _digests(kafka)
        again = Deciding(kafka, used, from_snapshot=from_snapshot).run(progress) if decisions else None
    if incident:
        found.damage = [one for one in found.damage if one.incident_id in {"", incident}]
        found.problems = [one for one in found.problems if incident in one or "event" not in one]
    report(found, again, as_json=as_json)


def _digests(kafka: KafkaSettings) -> list[str]:
    """What differs between the read models and the log, by the digests of their rows; nothing is swapped."""
    from cli.archive import histories
    from cli.progress import offsets
    from projections import rebuild
    from projections.sources import KafkaSource
    from streams.runtime.settings import DatabaseSettings

    database, source = DatabaseSettings(), KafkaSource(kafka, reader=histories())
    with rebuild.alone(database) as owner, offsets() as progress:
        run = rebuild.Rebuild(owner, source, database, progress)
        compared = run.compare(rebuild.plan(owner, source)).compared
    return [
        f"PostgreSQL: {view} of generation {one.live} differs from the log: {rows.changed} rows changed,"
        f" {rows.added} missing, {rows.missing} too many{'' if rows.complete else ', at least'}"
        for one in compared
        for view, rows in one.differences.items()
    ]


def report(found: Verified, again: Decided | None = None, *, as_json: bool) -> None:
    """Print what was found and end with exit code 1 when anything is wrong."""
    from dataclasses import asdict

    from cli.exit_codes import ExitCode
    from cli.output import print_json

    whole = found.whole and (again is None or again.whole)
    if as_json:
        print_json({"whole": whole, **asdict(found), "decisions": asdict(again) if again else None})
    else:
        typer.echo("\n".join(_lines(found, again)))
    if not whole:
        raise typer.Exit(ExitCode.FAILED)


def _lines(found: Verified, again: Decided | None) -> list[str]:
    rate = found.events / found.seconds if found.seconds else 0
    lines = [
        (
            f"{found.events} events of {found.tenants} tenants in {found.seconds:.1f} s ({rate:,.0f}/s),"
            f" {found.checkpoints} signed checkpoints, {found.erased} events erased"
        )
    ]
    lines += [
        f"{one.kind.upper()}: {one.tenant} tenantsequence {one.tenantsequence}, {one.where}"
        f"{f', event {one.event_id}' if one.event_id else ''}"
        f"{f' of incident {one.incident_id}' if one.incident_id else ''}: {one.detail}"
        for one in found.damage
    ]
    lines += [f"PROBLEM: {one}" for one in found.problems]
    if again is not None:
        lines.append(
            f"{again.events} events in {again.batches} batches decided again in {again.seconds:.1f} s,"
            f" {again.states} states compared"
        )
        lines += [f"STATE: {one}" for one in again.state_items]
        lines += [
            f"DECIDED OTHERWISE: event {one.event_id} ({one.type}) of {one.tenant}, intake {one.intakespan},"
            f" rule {one.rule or '-'}, decider {one.decider}: {one.detail}"
            for one in again.differences
        ]
        lines += [f"not compared: {one}" for one in again.not_compared]
    if found.whole and (again is None or again.whole):
        lines.append("whole")
    return lines


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A counter on a terminal, nothing elsewhere."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from cli.output import standard_error

    console = standard_error()
    if not console.is_terminal:
        yield lambda _: None
        return
    columns: tuple[Any, ...] = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.completed} events"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda events: bar.update(task, completed=events)
