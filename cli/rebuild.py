"""`incidents rebuild`: make read models anew from the record, beside the live ones, and swap."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from projections.rebuild import Plan, Report

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROJECTION...|list|rollback PROJECTION]",
            help="timeline_entries, incidents, alerts (default: all); `list`: their generations; `rollback`: go back.",
        ),
    ] = None,
    keep: Annotated[int, typer.Option(min=0, help="How many old generations to keep for a rollback.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Swap even if the rows differ from the live ones.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Throw away what an earlier run began.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes that fill; 0: one for each core.")] = 0,
    available: Annotated[
        int, typer.Option(min=0, help="Bytes that may be used, where the database's disk cannot be asked; 0: ask it.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild read models from offset 0 while readers and writers go on; compare, then swap in one moment.

    Safe to interrupt and to run again: it goes on where it was. Exit code 6 when the rebuilt rows differ from the live
    ones; then nothing is swapped.
    """
    words = list(what or [])
    if words == ["list"]:
        _list(as_json=as_json)
    elif words[:1] == ["rollback"]:
        _roll_back(words[1:], yes=yes, as_json=as_json)
    else:
        _rebuild(words, keep, jobs, available, force=force, restart=restart, dry_run=dry_run, yes=yes, as_json=as_json)


def _rebuild(
    names: list[str],
    keep: int,
    jobs: int,
    available: int,
    *,
    force: bool,
    restart: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from cli.archive import histories
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from cli.progress import offsets
    from infra.local.environment import apply
    from projections import rebuild
    from projections.sources import KafkaSource
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    apply()
    source, database = KafkaSource(KafkaSettings(), reader=histories()), DatabaseSettings()
    with _explained(), rebuild.alone(database) as owner:
        wanted = rebuild.plan(owner, source, names, free=available or None)
        _say_plan(wanted, as_json=as_json and dry_run)
        if dry_run:
            return
        if not yes:
            typer.confirm("Go on?", abort=True, err=True)
        with offsets() as progress:
            run = rebuild.Rebuild(owner, source, database, progress, jobs=jobs)
            if restart:
                run.discard(wanted)
                wanted = rebuild.plan(owner, source, names, free=available or None)
            report = run.run(wanted, keep=keep, force=force)
    if as_json:
        print_json(_report_document(report))
    else:
        _say_report(report)
    if not report.swapped:
        raise typer.Exit(ExitCode.REFUSED)


def _list(*, as_json: bool) -> None:
    from dataclasses import asdict

    from cli.output import print_json, print_table
    from infra.local.environment import apply
    from projections.connections import connect
    from projections.generations import listed
    from streams.runtime.settings import DatabaseSettings

    apply()
    with _explained(), connect(DatabaseSettings(), "owner", name="rebuild", autocommit=True) as owner:
        found = listed(owner)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [[one.projection, f"g{one.number}", one.state, f"{one.rows:,}", f"{one.bytes:,}"] for one in found]
    print_table(("projection", "generation", "state", "rows (estimated)", "bytes"), rows)


def _roll_back(names: list[str], *, yes: bool, as_json: bool) -> None:
    from cli.archive import histories
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from cli.progress import offsets
    from infra.local.environment import apply
    from projections import rebuild
    from projections.sources import KafkaSource
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    if len(names) != 1:
        raise CommandError("name one projection: incidents rebuild rollback PROJECTION", ExitCode.USAGE)
    apply()
    if not yes:
        typer.confirm(f"Show the generation of {names[0]} before this one again?", abort=True, err=True)
    database = DatabaseSettings()
    with _explained(), rebuild.alone(database) as owner, offsets() as progress:
        source = KafkaSource(KafkaSettings(), reader=histories())
        run = rebuild.Rebuild(owner, source, database, progress)
        before, after = run.roll_back(names[0])
    if as_json:
        print_json({"projection": names[0], "from": before, "to": after})
    else:
        typer.echo(f"{names[0]}: readers see g{after} again, g{before} is kept")


@contextmanager
def _explained() -> Iterator[None]:
    """What goes wrong becomes a message and an exit code."""
    import psycopg
    from confluent_kafka import KafkaException

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from projections import rebuild
    from streams.domain.errors import IncidentsError

    codes = {
        rebuild.AnotherRebuild: ExitCode.ALREADY_RUNNING,
        rebuild.TooLittleSpace: ExitCode.PREREQUISITE,
        rebuild.NoSuchGeneration: ExitCode.NOT_FOUND,
    }
    try:
        yield
    except IncidentsError as error:
        raise CommandError(f"{type(error).__name__}: {error}", codes.get(type(error), ExitCode.FAILED)) from error
    except KafkaException as error:
        raise CommandError(f"Kafka: {error.args[0].str()}", ExitCode.NOT_RUNNING) from error
    except psycopg.OperationalError as error:
        raise CommandError(f"PostgreSQL: {error}", ExitCode.NOT_RUNNING) from error


def _say_plan(wanted: Plan, *, as_json: bool) -> None:
    from cli.output import print_json

    if as_json:
        models = [
            {
                "projection": one.live.name,
                "live": one.live.generation,
                "new": one.new.generation,
                "resumed": one.resumed,
                "live_bytes": one.bytes,
            }
            for one in wanted.models
        ]
        print_json(
            {
                "models": models,
                "offsets": wanted.left,
                "stranded": list(wanted.stranded),
                "bytes_needed": wanted.bytes_needed,
                "bytes_free": wanted.bytes_free,
            }
        )
        return
    for one in wanted.models:
        how = "goes on with" if one.resumed else "begins"
        typer.echo(f"{one.live.name}: g{one.live.generation} is live, {how} g{one.new.generation}", err=True)
    if wanted.stranded:
        where = ", ".join(map(str, wanted.stranded))
        typer.echo(f"the log begins after its position on partition {where}: filled from the archive", err=True)
    free = "unknown" if wanted.bytes_free is None else f"{wanted.bytes_free:,}"
    typer.echo(f"{wanted.left:,} offsets to read; about {wanted.bytes_needed:,} bytes needed, {free} free", err=True)


def _report_document(report: Report) -> dict[str, Any]:
    return {
        "swapped": report.swapped,
        "equal": report.equal,
        "events": report.events,
        "seconds": round(report.seconds, 2),
        "dropped": list(report.dropped),
        "not_compared": list(report.not_compared),
        "models": [
            {
                "projection": one.projection,
                "live": one.live,
                "new": one.new,
                "rows": one.rows,
                "live_digest": one.live_digest,
                "new_digest": one.new_digest,
                "differences": {
                    view: {
                        "missing": found.missing,
                        "added": found.added,
                        "changed": found.changed,
                        "complete": found.complete,
                        "sample": [{"key": row.key, "columns": row.columns} for row in found.sample],
                    }
                    for view, found in one.differences.items()
                },
            }
            for one in report.compared
        ],
    }


def _say_report(report: Report) -> None:
    for one in report.compared:
        same = "DIFFERS" if one.differences else "equal"
        typer.echo(f"{one.projection}: g{one.live} and g{one.new}, {one.rows:,} rows, {same}")
        for view, found in one.differences.items():
            least = "" if found.complete else "at least "
            typer.echo(
                f"  {view}: {least}{found.changed} rows differ, {found.missing} only in the live generation,"
                f" {found.added} only in the new one"
            )
            for row in found.sample:
                typer.echo(f"    {' '.join(map(str, row.key))}")
                for name, (live, new) in row.columns.items():
                    typer.echo(f"      {name}: live {live!r:.80}, rebuilt {new!r:.80}")
    for name in report.not_compared:
        typer.echo(f"{name}: not compared, since the log begins after the position of the live rows")
    if report.swapped:
        typer.echo(f"swapped; {report.events:,} offsets in {report.seconds:.1f} s")
    else:
        typer.echo("nothing was swapped: the log says something else than the live rows (--force swaps all the same)")
    if report.dropped:
        typer.echo(f"dropped {', '.join(report.dropped)}")
