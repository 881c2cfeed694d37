"""`incidents archive`: the log in files on an S3 server, and the way back from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import threading

    from streams.archive.archiver import Archiver
    from streams.archive.history import Histories
    from streams.archive.reading import Archive
    from streams.runtime.settings import DatabaseSettings

app = typer.Typer(help="The archive of the log: write, list, verify, restore.")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Name damaged files and go on without them.")]


@app.command("run")
def run_once(as_json: AsJson = False) -> None:
    """Archive everything that is there now, sign a checkpoint, copy state and operational tables, and end."""
    import threading
    from dataclasses import asdict

    from cli.output import print_json

    with errors():
        done = archiver(threading.Event()).round(final=True)
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(f"{done.records} records in {done.files} files, {done.checkpoints} checkpoints signed")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show what is archived: offsets, files, records, bytes and times of each partition."""
    from cli.output import print_json, print_table
    from streams.archive.reading import completeness
    from streams.domain.envelope import rfc3339

    with errors():
        archive = open_archive()
        rows = [_row(archive, topic, partition) for topic, partition in archive.partitions()]
        until, _ = completeness(archive)
    if as_json:
        print_json({"archive": archive.prefix, "complete_until": rfc3339(until) if until else "", "partitions": rows})
        return
    columns = list(rows[0]) if rows else ["topic"]
    print_table(columns, [[str(value) for value in row.values()] for row in rows], title=archive.prefix)
    typer.echo(f"complete until {rfc3339(until) if until else '-'}")


@app.command()
def verify(skip_damaged: SkipDamaged = False, as_json: AsJson = False) -> None:
    """Check every file, manifest and signature, and the chains of the archived record. Exit code 1 for any damage."""
    from cli.verify import report
    from streams.archive.settings import SigningSettings
    from streams.archive.verifying import verify_archive

    with errors():
        report(verify_archive(open_archive(skip_damaged=skip_damaged), SigningSettings()), as_json=as_json)


@app.command()
def restore(
    lost_at: Annotated[str, typer.Option(help="When the cluster was lost (RFC 3339), to print the loss window.")] = "",
    skip_damaged: SkipDamaged = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restore into topics and a database that are empty (incidents topics, incidents migrate), with nothing running.

    Start the processes afterwards: the projector fills the read models from the log.
    """
    from dataclasses import asdict

    from cli.output import print_json
    from cli.progress import steps
    from connectors.kit.secrets import ConnectorSettings, SecretBox
    from streams.archive.operations import Operations
    from streams.archive.restoring import Restore
    from streams.runtime.settings import DatabaseSettings, KafkaSettings

    if not yes:
        typer.confirm("Restore the archive into the Kafka and the database of this environment?", abort=True, err=True)
    lost = _lost(lost_at)
    with errors(), steps() as progress:
        archive = open_archive(skip_damaged=skip_damaged)
        operations = Operations(archive.storage, archive.prefix, SecretBox(ConnectorSettings()))
        done = Restore(KafkaSettings(), DatabaseSettings(), archive, operations, progress).run(_now())
    window = {"loss_window_s": max(0.0, (lost - done.complete_until) / 1000)} if lost else {}
    if as_json:
        print_json({**asdict(done), **window})
        return
    typer.echo(_summary(asdict(done) | window))


def _summary(done: dict[str, Any]) -> str:
    from streams.domain.envelope import rfc3339

    lines = [
        f"restored {sum(done['records'].values())} records in {done['seconds']:.1f} s (RTO until processes may start)",
        f"complete until {rfc3339(done['complete_until'])}, newest record {rfc3339(done['newest_record'])}",
        f"{done['decided_again']} batches decided again, {done['completed']} records completed",
        f"{done['finished_intents']} effects are done, {done['open_intents']} are open",
        *(f"left out: {one}" for one in done["skipped"]),
    ]
    if "loss_window_s" in done:
        lines.insert(1, f"loss window (RPO): at most {done['loss_window_s']:.1f} s")
    return "\n".join(lines)


def _row(archive: Archive, topic: str, partition: int) -> dict[str, Any]:
    from streams.domain.envelope import rfc3339

    files = archive.manifest(topic, partition).files
    return {
        "topic": topic,
        "partition": partition,
        "offsets": f"{files[0].start}-{files[-1].end}" if files else "-",
        "files": len(files),
        "records": sum(entry.count for entry in files),
        "bytes": sum(entry.bytes for entry in files),
        "from": rfc3339(min(entry.first_at for entry in files)) if files else "-",
        "to": rfc3339(max(entry.last_at for entry in files)) if files else "-",
    }


def archiver(stop: threading.Event) -> Archiver:
    """The archiver of this environment."""
    from connectors.kit.secrets import ConnectorSettings, SecretBox
    from infra.local.environment import apply
    from streams.archive.archiver import Archiver
    from streams.archive.checkpoints import Signer, Verifier
    from streams.archive.operations import Operations
    from streams.archive.settings import ArchiveSettings, SigningSettings
    from streams.runtime.object_storage import ObjectStorage
    from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings

    apply()
    kafka, settings, signing, database = KafkaSettings(), ArchiveSettings(), SigningSettings(), DatabaseSettings()
    storage = ObjectStorage(ObjectStorageSettings())
    operations = Operations(storage, settings.prefix(kafka.topic_prefix), SecretBox(ConnectorSettings()))
    return Archiver(
        kafka=kafka,
        settings=settings,
        storage=storage,
        signer=Signer(signing),
        verifier=Verifier(signing),
        stop=stop,
        passed=lambda topic: _passed(database, topic),
        back_up=lambda: operations.take_when_due(database, settings.operations_s, _now()),
    )


def _passed(database: DatabaseSettings, topic: str) -> dict[int, int]:
    """How far the projections have come on a topic."""
    import psycopg

    from projections.checkpoints import passed
    from projections.connections import connect
    from streams.domain.errors import Transient

    try:
        with connect(database, "owner", name="archiver") as connection:
            return passed(connection, topic)
    except psycopg.OperationalError as error:
        raise Transient(f"PostgreSQL: {error}") from error


def histories() -> Histories:
    """Readers of the log from its beginning, in this environment: the archive, then Kafka."""
    from infra.local.environment import apply
    from streams.archive.history import Histories
    from streams.archive.settings import ArchiveSettings
    from streams.runtime.settings import KafkaSettings, ObjectStorageSettings

    apply()
    return Histories(ObjectStorageSettings(), ArchiveSettings().prefix(KafkaSettings().topic_prefix))


def open_archive(*, skip_damaged: bool = False) -> Archive:
    """The archive of this environment, to read."""
    from infra.local.environment import apply
    from streams.archive.reading import Archive
    from streams.archive.settings import ArchiveSettings
    from streams.runtime.object_storage import ObjectStorage
    from streams.runtime.settings import KafkaSettings, ObjectStorageSettings

    apply()
    prefix = ArchiveSettings().prefix(KafkaSettings().topic_prefix)
    return Archive(ObjectStorage(ObjectStorageSettings()), prefix, skip_damaged)


@contextmanager
def errors() -> Iterator[None]:
    """What goes wrong on purpose becomes a message and an exit code."""
    import psycopg
    from confluent_kafka import KafkaException

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.errors import IncidentsError, Transient

    try:
        yield
    except Transient as error:
        raise CommandError(str(error), ExitCode.NOT_RUNNING) from error
    except IncidentsError as error:
        raise CommandError(str(error)) from error
    except KafkaException as error:
        raise CommandError(f"Kafka: {error.args[0].str()}", ExitCode.NOT_RUNNING) from error
    except psycopg.OperationalError as error:
        raise CommandError(f"PostgreSQL: {error}", ExitCode.NOT_RUNNING) from error


def _lost(text: str) -> int:
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.envelope import milliseconds

    try:
        return milliseconds(text) if text else 0
    except ValueError as error:
        raise CommandError(f"--lost-at: {error}", ExitCode.USAGE) from error


def _now() -> int:
    import time

    return time.time_ns() // 1_000_000
