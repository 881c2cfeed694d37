"""Where `incidents replay` sends records: standard output, a file, an HTTP sink or another topic."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import orjson
import tenacity
from confluent_kafka import KafkaError, KafkaException, Producer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from streams.domain.errors import IncidentsError
from streams.runtime.log_span import Entry
from streams.runtime.settings import KafkaSettings

Emit = Callable[[Entry], None]

STRUCTURED = "application/cloudevents+json; charset=utf-8"
_ATTEMPTS = 8
_LONGEST_WAIT_S = 30.0
_FLUSH_S = 30.0


class Refused(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """The sink did not take a record; the message names it, so that a replay can go on behind it."""


class _Busy(IncidentsError):  # noqa: N818
    """The sink asks for patience; ``after`` is how long, in seconds (0: it did not say)."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(message)
        self.after = after


@contextmanager
def opened(target: str, settings: KafkaSettings) -> Iterator[Emit]:
    """The sink of this name; at the end everything has arrived there, or an error was raised."""
    if target == "-":
        yield _writer(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    elif target.startswith(("http://", "https://")):
        with httpx.Client(timeout=30) as client:
            yield lambda entry: _post(client, target, entry)
    elif target.startswith("topic:"):
        with _topic(target.removeprefix("topic:"), settings) as emit:
            yield emit
    else:
        try:
            file = Path(target).open("xb")  # noqa: SIM115  closed below
        except OSError as error:
            raise CommandError(f"{target} cannot be created: {error.strerror}", ExitCode.USAGE) from error
        with file:
            yield _writer(file)


def paced(entries: Iterable[Entry], rate: float) -> Iterator[Entry]:
    """The entries, at most ``rate`` of them a second (0: as they come)."""
    began = time.monotonic()
    for number, entry in enumerate(entries):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield entry


def _writer(file: BinaryIO) -> Emit:
    def write(entry: Entry) -> None:
        file.write(orjson.dumps(entry.document()) + b"\n")

    return write


def _post(client: httpx.Client, url: str, entry: Entry) -> None:
    """One structured CloudEvent (HTTP protocol binding 1.0.2, section 3.2), tried again while the sink is busy."""
    body = orjson.dumps(entry.document())
    where = f"{entry.topic}[{entry.partition}]@{entry.offset}"

    def attempt() -> None:
        response = client.post(url, content=body, headers={"Content-Type": STRUCTURED})
        if response.status_code in {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS}:
            after = response.headers.get("retry-after", "")
            raise _Busy(f"{response.status_code}", float(after) if after.isdecimal() else 0.0)
        if not response.is_success:
            raise Refused(f"{where}: the sink answered {response.status_code}: {response.text[:200]}")

    growing = tenacity.wait_exponential_jitter(multiplier=0.2, max=10, jitter=0.2)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after if isinstance(error, _Busy) else 0.0
        return min(max(asked, growing(state)), _LONGEST_WAIT_S)

    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((_Busy, httpx.TransportError)),
        wait=pause,
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        reraise=True,
    )
    try:
        retry(attempt)
    except (_Busy, httpx.TransportError) as error:
        raise Refused(f"{where}: not taken in {_ATTEMPTS} attempts: {type(error).__name__} {error}") from error


@contextmanager
def _topic(name: str, settings: KafkaSettings) -> Iterator[Emit]:
    """Another topic (its full name, prefix and all), which must exist; records keep key, headers and bytes."""
    failed: list[KafkaError] = []
    producer = Producer(
        settings.librdkafka()
        | {"enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4", "partitioner": "murmur2_random",
           "allow.auto.create.topics": False, "delivery.timeout.ms": int(_FLUSH_S * 1000),
           "message.max.bytes": 1_114_112}
    )  # fmt: skip
    metadata = producer.list_topics(timeout=_FLUSH_S).topics
    if name not in metadata:
        raise CommandError(f"the topic {name} does not exist", ExitCode.NOT_FOUND)

    def delivered(error: KafkaError | None, _record: object) -> None:
        if error is not None:
            failed.append(error)

    def emit(entry: Entry) -> None:
        while True:
            try:
                producer.produce(name, entry.value, entry.key, headers=list(entry.headers), on_delivery=delivered)
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                break
        if failed:
            raise KafkaException(failed[0])

    yield emit
    left = producer.flush(_FLUSH_S + 5)
    if failed or left:
        raise KafkaException(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT, f"{left} records"))  # noqa: SLF001
