"""`incidents replay`: print or re-emit any span of the log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.runtime.log_span import Wanted


def command(
    topic: Annotated[str, typer.Option(help="Topic of the catalogue.")] = "incident-events",
    since: Annotated[str, typer.Option(help="Not older: 90m, 12h, 7d, or an RFC 3339 time.")] = "",
    until: Annotated[str, typer.Option(help="Older than this, as --since.")] = "",
    partition: Annotated[int, typer.Option(min=-1, help="Only this partition; -1: each.")] = -1,
    first: Annotated[int, typer.Option("--from-offset", min=-1, help="Begin at this offset.")] = -1,
    last: Annotated[int, typer.Option("--to-offset", min=-1, help="End with this offset.")] = -1,
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    incident: Annotated[str, typer.Option(help="Only this incident's: its id.")] = "",
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only this type; repeat for more.")] = None,
    to: Annotated[
        str, typer.Option(help="`-`: print; FILE; http(s)://...: POST each; topic:NAME: write to another topic.")
    ] = "-",
    rate: Annotated[float, typer.Option(min=0, help="At most so many a second; 0: as fast as it goes.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Stop after so many; 0: never.")] = 0,
) -> None:
    """Print a span of the log as CloudEvents (one JSON object a line), or send it to a file, a URL or another topic.

    Only what is committed; each partition in its order. A URL gets structured CloudEvents, tried again while it
    answers 503, 429 or not at all. Another topic gets the records as they are: same key, headers and bytes.
    """
    from itertools import islice

    import schemas
    from cli.archive import histories
    from cli.emitting import opened, paced
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from infra.local.environment import apply
    from streams.runtime.log_span import Wanted, entries
    from streams.runtime.settings import KafkaSettings

    apply()
    settings = KafkaSettings()
    if to in {f"topic:{settings.topic(spec.name)}" for spec in schemas.topics()}:
        raise CommandError(f"{to}: only the product itself writes to its topics", ExitCode.USAGE)
    wanted = Wanted(
        _time("--since", since), _time("--until", until), partition, first, last, tenant, incident, tuple(type_ or ())
    )
    _check(topic, wanted)
    count = 0
    with _explained(), histories()(settings, topic) as reader, opened(to, settings) as emit:
        found = entries(reader, topic, wanted)
        for entry in paced(islice(found, limit) if limit else found, rate):
            emit(entry)
            count += 1
    if to != "-":
        typer.echo(f"{count} records sent to {to}", err=True)


def _check(topic: str, wanted: Wanted) -> None:
    import schemas
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.catalogue import BY_TYPE

    known = [spec.name for spec in schemas.topics()]
    if topic not in known:
        raise CommandError(f"{topic!r} is no topic of the catalogue: {', '.join(known)}", ExitCode.USAGE)
    unknown = [one for one in wanted.types if one not in BY_TYPE]
    if unknown:
        raise CommandError(f"unknown type {', '.join(unknown)}", ExitCode.USAGE)
    if wanted.since and wanted.until and wanted.since >= wanted.until:
        raise CommandError("--since lies behind --until", ExitCode.USAGE)
    if 0 <= wanted.last < wanted.first:
        raise CommandError("--from-offset lies behind --to-offset", ExitCode.USAGE)


def _time(option: str, text: str) -> int:
    """A time in milliseconds: an age before now, or an RFC 3339 instant; 0 for none."""
    import time

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.envelope import milliseconds

    units = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
    if not text:
        return 0
    if text[:-1].isdecimal() and text[-1] in units:
        return max(0, int(time.time() * 1000) - int(text[:-1]) * units[text[-1]])
    try:
        return milliseconds(text)
    except ValueError as error:
        raise CommandError(
            f"{option} {text!r} is neither an age (90m, 12h, 7d) nor RFC 3339", ExitCode.USAGE
        ) from error


@contextmanager
def _explained() -> Iterator[None]:
    """What goes wrong becomes a message and an exit code."""
    from confluent_kafka import KafkaException

    from cli.emitting import Refused
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.errors import IncidentsError
    from streams.runtime.log_reader import UnknownTopic
    from streams.runtime.log_span import OutsideLog

    try:
        yield
    except (OutsideLog, UnknownTopic) as error:
        raise CommandError(str(error), ExitCode.NOT_FOUND) from error
    except Refused as error:
        raise CommandError(str(error), ExitCode.REFUSED) from error
    except IncidentsError as error:
        raise CommandError(f"{type(error).__name__}: {error}") from error
    except KafkaException as error:
        raise CommandError(f"Kafka: {error.args[0].str()}", ExitCode.NOT_RUNNING) from error
