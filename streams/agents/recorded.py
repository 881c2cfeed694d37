"""A tenant's part of the log, decoded: what it sent in, and what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from streams.agents.what_if import Recorded
from streams.codec import cloudevents
from streams.domain.envelope import rfc3339
from streams.domain.errors import IncidentsError, InvalidEvent
from streams.domain.message import Message
from streams.domain.signals import Signal
from streams.runtime.partition_reader import PartitionReader, StoredRecord
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import KafkaSettings

INTAKE, EVENTS, INTENTS = "incident-intake", "incident-events", "outbox-intents"
Seen = Callable[[str, int], None]
"""Is told of every record that was read, by its topic and its offset, whatever becomes of it: for progress."""


class NothingThere(IncidentsError):  # noqa: N818
    """The span lies outside of what the log holds."""


@dataclass(frozen=True, slots=True)
class SpanOf:
    """A tenant's span of the log by recorded time in milliseconds: from ``since`` to before ``until`` (0: open)."""

    tenant: str
    since: int = 0
    until: int = 0
    service: str = ""

    def holds(self, at: int) -> bool:
        """Whether a recorded time lies in the span."""
        return at >= self.since and (not self.until or at < self.until)


class Log(Protocol):
    """Where records are read from: Kafka, the archive, or both. Topics are named as in the catalogue."""

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic."""

    def start_at(self, topic: str, partition: int, since: int) -> int:
        """An offset before which no record is as new as a time in milliseconds."""

    def end(self, topic: str, partition: int) -> int:
        """The offset after the last record."""

    def records(self, topic: str, partition: int, start: int = 0) -> Iterator[StoredRecord]:
        """The committed records from an offset on, to what is the end when it is reached."""


class KafkaLog:
    """The log as Kafka holds it; a context manager that holds one consumer."""

    def __init__(self, settings: KafkaSettings, group: str = "incidents-what-if") -> None:
        self._settings = settings
        self._reader = PartitionReader(settings, group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(None, None, None)

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic."""
        return self._reader.partitions(self._settings.topic(topic))

    def start_at(self, topic: str, partition: int, since: int) -> int:
        """The first offset that is there and not older."""
        full = self._settings.topic(topic)
        return self._reader.start_at(full, partition, since) if since else self._reader.bounds(full, partition)[0]

    def end(self, topic: str, partition: int) -> int:
        """The offset that the next record will get."""
        return self._reader.bounds(self._settings.topic(topic), partition)[1]

    def records(self, topic: str, partition: int, start: int = 0) -> Iterator[StoredRecord]:
        """The records from an offset on."""
        full = self._settings.topic(topic)
        return self._reader.read(full, partition, start, self._reader.bounds(full, partition)[1])

    def note(self, topic: str, partition: int, offset: int) -> None:
        """Show lag tools how far this reader has come."""
        self._reader.note(self._settings.topic(topic), partition, offset)


def nobody(topic: str, offset: int) -> None:
    """Nobody wants to know what was read."""


def where(log: Log, span: SpanOf, topic: str) -> tuple[int, int]:
    """The tenant's partition of a topic, and an offset before which nothing of the span lies there."""
    number = partition_of(span.tenant.encode(), len(log.partitions(topic)))
    return number, log.start_at(topic, number, span.since)


def intake(log: Log, span: SpanOf, seen: Seen = nobody) -> Iterator[Message]:
    """The tenant's messages of the span in offset order; what cannot be decoded was dead-lettered and is left out.

    With a service, signals of other services are left out too. Raises ``NothingThere`` with what there is.
    """
    number, start = where(log, span, INTAKE)
    nothing = True
    for stored in log.records(INTAKE, number, start):
        seen(INTAKE, stored.offset)
        if span.until and stored.timestamp >= span.until:
            break
        nothing = False
        if (message := message_of(stored, span)) is not None:
            yield message
    if nothing:
        raise NothingThere(what_there_is(log, INTAKE, number))


def message_of(stored: StoredRecord, span: SpanOf) -> Message | None:
    """A record of the intake as the tenant's message; none where it is not in the span."""
    if stored.key != span.tenant.encode() or not span.holds(stored.timestamp):
        return None
    try:
        envelope, data = cloudevents.decode(stored.headers, stored.value)
    except InvalidEvent:
        return None
    if span.service and isinstance(data, Signal) and data.service != span.service:
        return None
    return Message(envelope, data, stored.timestamp, INTAKE, stored.partition, stored.offset)


def record(log: Log, span: SpanOf, seen: Seen = nobody) -> Iterator[Recorded]:
    """The tenant's events and intents whose causes lie in the span."""
    for topic in (EVENTS, INTENTS):
        number, start = where(log, span, topic)  # what is recorded of a message is never older than the message
        for stored in log.records(topic, number, start):
            seen(topic, stored.offset)
            if (found := recorded_of(stored, span)) is not None:
                yield found


def recorded_of(stored: StoredRecord, span: SpanOf) -> Recorded | None:
    """A record of the tenant's events or intents; none where it is not in the span."""
    if stored.key != span.tenant.encode():
        return None
    envelope, event = cloudevents.decode(stored.headers, stored.value)
    return (envelope, event) if span.holds(envelope.recordedtime or stored.timestamp) else None


def what_there_is(log: Log, topic: str, number: int) -> str:
    """The times of the first and the last record of a partition, in words."""
    first = last = None
    for stored in log.records(topic, number, log.start_at(topic, number, 0)):
        first, last = first or stored, stored
    times = [rfc3339(stored.timestamp) for stored in (first, last) if stored is not None]
    return f"{topic} holds {' to '.join(times) or 'nothing'} where this tenant's records are"
