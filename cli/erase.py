"""`incidents erase`: forget one person, wherever their data is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.archive.erasing import Done, Eraser, Request


def command(
    identifier: Annotated[str, typer.Argument(help="How the record names the person: an e-mail address, a login.")],
    tenant: Annotated[str, typer.Option(help="In whose record.")],
    reason: Annotated[str, typer.Option(help="Why, for the record; without the person's name.")] = "",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the worker and the projector.")] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what names the person.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON value.")] = False,
) -> None:
    """Erase a person from the log, the archive, the state and the database, for good; every chain stays verifiable.

    A pseudonym takes the place of the identifier, notes and reasons that the person wrote give way to a mark. Needs an
    archive, a running worker and a running projector. Interrupted, it is simply run again. Exit code 7 when nobody is
    named so.
    """
    from dataclasses import asdict

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json
    from cli.tenant import actor
    from streams.archive.erasing import Request

    request = Request(tenant, identifier, actor(), reason)
    eraser = _eraser(timeout)
    found = _looked(eraser, request)
    if not found.anything:
        raise CommandError(f"nothing of {tenant} names {identifier}", ExitCode.NOT_FOUND)
    if not as_json:
        typer.echo("\n".join(_lines(found, "would be erased")), err=not dry_run)
    if not dry_run:
        if not yes:
            typer.confirm("Erase all this? Nothing brings it back.", abort=True, err=True)
        found = _erased(eraser, request)
    if as_json:
        print_json({"dry_run": dry_run, "tenant": tenant, **asdict(found)})
    elif not dry_run:
        typer.echo("\n".join(_lines(found, "erased")))


def _eraser(timeout: float) -> Eraser:
    import threading

    from cli.archive import archiver, errors, open_archive
    from connectors.kit.secrets import ConnectorSettings, SecretBox
    from streams.archive.erasing import Eraser
    from streams.archive.operations import Operations
    from streams.runtime.settings import DatabaseSettings

    with errors():
        own = archiver(threading.Event())
        archive = open_archive()
        operations = Operations(archive.storage, archive.prefix, SecretBox(ConnectorSettings()))
        return Eraser(own.kafka, DatabaseSettings(), own, archive, operations, timeout)


def _looked(eraser: Eraser, request: Request) -> Done:
    from cli.archive import errors
    from cli.output import standard_error

    with errors(), standard_error().status("looking for what names the person"):
        return eraser.look(request)


def _erased(eraser: Eraser, request: Request) -> Done:
    import time

    from cli.archive import errors
    from cli.output import standard_error

    with errors(), standard_error().status("erasing") as status:
        eraser.report = lambda what: status.update(f"erasing: {what}")
        return eraser.run(request, time.time_ns() // 1_000_000)


def _lines(found: Done, what: str) -> list[str]:
    """The report: what, how much of it, and what no erasure reaches."""
    lines = [f"{count} records of {topic} {what}" for topic, count in found.records.items()]
    lines += [f"  {count} events {type_}" for type_, count in sorted(found.events.items())]
    lines += [f"{count} rows of {table} {what}" for table, count in found.rows.items()]
    others = {
        "items of the orchestrator's state": found.state_items,
        "archive files (written anew without the person)": found.files,
        "raw bodies": found.objects,
        "archived states": found.snapshots,
        "older backups": found.backups,
    }
    lines += [f"{count} {name} {what}" for name, count in others.items() if count]
    lines += [f"{generation} {what}" for generation in found.generations]
    lines += [f"Kafka: {place} is deleted before offset {end}" for place, end in found.deleted_from_kafka.items()]
    if found.pseudonym:
        lines.append(f"in place of the person stands {found.pseudonym}")
    return [*lines, *(f"not erased: {one}" for one in found.left)]
