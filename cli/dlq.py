"""`incidents dlq`: what could not be taken, to be read, put back on the intake, or dropped."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from streams.runtime.dead_letter import DeadLetter, Original, Place
    from streams.runtime.dead_letters import DeadLetters

app = typer.Typer(help="Dead letters: what could not be taken, to be read, replayed or dropped.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
Tenant = Annotated[str, typer.Option(help="Only this tenant's.")]
Reason = Annotated[str, typer.Option(help="Only those with this reason, e.g. not-understood.")]
Places = Annotated[list[str], typer.Argument(metavar="PARTITION:OFFSET...", help="Which, as `dlq list` names them.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_all(
    tenant: Tenant = "",
    reason: Reason = "",
    state: Annotated[str, typer.Option(help="Only those that are waiting, replayed or dropped.")] = "",
    since: Annotated[str, typer.Option(help="Only newer ones: 90m, 12h, 7d, or an RFC 3339 time.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many, the newest.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    from cli.output import print_json, print_table

    start = _since(since)
    with _store() as store:
        found = [
            _summary(letter)
            for letter in _matching(store.letters(since=start), tenant, reason)
            if state in {"", letter.mark.state}
        ]
    shown = sorted(found, key=lambda row: (row["at"], row["place"]))[-limit:]
    if as_json:
        print_json(shown)
        return
    columns = ("place", "at", "tenant", "reason", "state", "type", "detail")
    print_table(columns, [[str(row[name])[:80] for name in columns] for row in shown])
    if len(found) > len(shown):
        typer.echo(f"{len(found) - len(shown)} older ones are not shown (--limit)", err=True)


@app.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Which, as `dlq list` names it.")],
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: why it is here, where it came from, and its data as far as they can be read."""
    from cli.output import print_json

    with _store() as store:
        (letter,) = store.find(_places([place]))
        details = _details(store, letter)
    if as_json:
        print_json(details)
        return
    for name, value in details.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for inner, entry in value.items():
                typer.echo(f"  {inner}: {entry}")
        else:
            typer.echo(f"{name}: {value}")


@app.command()
def replay(
    places: Places = [],  # noqa: B006  typer copies it
    every: Annotated[bool, typer.Option("--all", help="All that are waiting (with --tenant, --reason: of those).")] = (
        False
    ),
    tenant: Tenant = "",
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back on the intake, as they came: same key, same id, same bytes.

    What a connector did not understand is parsed again by the connector as it is now. Exit code 1 when some could not
    be replayed; they stay as they are.
    """
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.replaying import Replay

    if bool(places) == every:
        raise CommandError("name the letters, or give --all", ExitCode.USAGE)
    with _store() as store:
        named = (
            store.find(_places(places)) if places else (one for one in store.letters() if one.mark.state == "waiting")
        )
        run = Replay(store, _actor(), dry_run=dry_run)
        if every and not dry_run:
            _confirm(yes, "replay all waiting dead letters" + _of(tenant, reason))
        run.take(_matching(named, tenant, reason))
    _report(run.done, run.failed, "would be replayed" if dry_run else "replayed", as_json=as_json)


@app.command()
def drop(places: Places, yes: Yes = False, as_json: AsJson = False) -> None:
    """Note that dead letters need nothing more; they stay readable until the topic's retention ends."""
    from cli.replaying import waiting
    from streams.runtime.dead_letter import Mark

    with _store() as store:
        letters = store.find(_places(places))
        _confirm(yes, f"drop {len(letters)} dead letters")
        open_ = [letter for letter in letters if letter.mark.state == "waiting"]
        failed = {str(letter.place): waiting(letter) for letter in letters if letter not in open_}
        store.mark(open_, Mark("dropped", _now(), _actor()))
    _report([str(letter.place) for letter in open_], failed, "dropped", as_json=as_json)


@contextmanager
def _store() -> Iterator[DeadLetters]:
    """The dead letters; what goes wrong becomes a message and an exit code."""
    from confluent_kafka import KafkaException

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from infra.local.environment import apply
    from streams.runtime.dead_letters import DeadLetters, NotWritten, UnknownLetter
    from streams.runtime.settings import KafkaSettings

    apply()
    try:
        yield DeadLetters(KafkaSettings())
    except UnknownLetter as error:
        raise CommandError(str(error), ExitCode.NOT_FOUND) from error
    except NotWritten as error:
        raise CommandError(f"{error}; what is still waiting can be replayed again") from error
    except KafkaException as error:
        raise CommandError(f"Kafka: {error.args[0].str()}", ExitCode.NOT_RUNNING) from error


def _places(texts: Sequence[str]) -> list[Place]:
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.runtime.dead_letter import Place

    try:
        return [Place.parse(text) for text in texts]
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


def _matching(letters: Iterable[DeadLetter], tenant: str, reason: str) -> Iterator[DeadLetter]:
    return (one for one in letters if tenant in {"", one.tenant} and reason in {"", one.reason})


def _since(text: str) -> int:
    """A time in milliseconds: an age before now, or an RFC 3339 instant; 0 for the beginning."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.envelope import milliseconds

    units = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
    if not text:
        return 0
    if text[:-1].isdecimal() and text[-1] in units:
        return max(0, _now() - int(text[:-1]) * units[text[-1]])
    try:
        return milliseconds(text)
    except ValueError as error:
        raise CommandError(f"--since {text!r} is neither an age (90m, 12h, 7d) nor RFC 3339", ExitCode.USAGE) from error


def _summary(letter: DeadLetter) -> dict[str, Any]:
    from streams.domain.envelope import rfc3339

    return {
        "place": str(letter.place),
        "at": rfc3339(letter.at),
        "tenant": letter.tenant,
        "reason": letter.reason,
        "detail": letter.detail,
        "state": letter.mark.state,
        "handled_at": rfc3339(letter.mark.at) if letter.mark.at else "",
        "handled_by": letter.mark.actor,
        "id": letter.header("ce_id"),
        "type": letter.header("ce_type"),
        "source": {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset},
    }


def _details(store: DeadLetters, letter: DeadLetter) -> dict[str, Any]:
    """The summary with headers, data and raw bytes (text where they are UTF-8, else base64)."""
    from streams.runtime.dead_letters import SourceGone

    summary = _summary(letter)
    try:
        original = store.original(letter)
    except SourceGone as error:
        return {**summary, "data": f"gone: {error}"}
    headers = {name: value.decode(errors="replace") for name, value in original.headers}
    return {**summary, "headers": headers, "data": _data(original), "raw": _text(original.value)}


def _data(original: Original) -> dict[str, Any] | str:
    from dataclasses import fields

    from streams.codec import cloudevents
    from streams.domain.errors import InvalidEvent, UnknownSchema

    try:
        _, data = cloudevents.decode(original.headers, original.value)
    except (InvalidEvent, UnknownSchema) as error:
        return f"cannot be read: {error}"
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    return {name: _text(value) if isinstance(value, bytes) else value for name, value in values.items()}


def _text(value: bytes | None) -> str:
    import base64

    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value or b"").decode()


def _report(done: list[str], failed: dict[str, str], what: str, *, as_json: bool) -> None:
    from cli.exit_codes import ExitCode
    from cli.output import print_error, print_json

    if as_json:
        print_json({what.replace(" ", "_"): done, "failed": failed})
    else:
        typer.echo(f"{len(done)} {what}")
        for place, why in failed.items():
            print_error(f"{place}: {why}")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _of(tenant: str, reason: str) -> str:
    return "".join(f", {name} {value}" for name, value in (("tenant", tenant), ("reason", reason)) if value)


def _confirm(yes: bool, what: str) -> None:
    if not yes:
        typer.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)


def _actor() -> str:
    from cli.tenant import actor

    return actor()


def _now() -> int:
    import time

    return int(time.time() * 1000)
