"""A tenant's part of the log, decoded: what it sent in, and what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from streams.agents.what_if import Recorded
from streams.codec import cloudevents
from streams.domain.envelope import rfc3339
from streams.domain.errors import IncidentsError, InvalidEvent
from streams.domain.message import Message
from streams.domain.signals import Signal
from streams.runtime.log_reader import LogReader
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import KafkaSettings

Open = Callable[[KafkaSettings, str], LogReader]


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


def intake(settings: KafkaSettings, span: SpanOf, opened: Open = LogReader) -> Iterator[Message]:
    """The tenant's messages of the span in offset order; what cannot be decoded was dead-lettered and is left out.

    With a service, signals of other services are left out too. Raises ``NothingThere`` with what there is.
    """
    for record in _records(opened(settings, "incident-intake"), "incident-intake", span):
        at = record.timestamp()[1]
        if record.key() != span.tenant.encode() or not span.holds(at):
            continue
        try:
            envelope, data = cloudevents.decode(record.headers(), record.value())
        except InvalidEvent:
            continue
        if not (span.service and isinstance(data, Signal) and data.service != span.service):
            yield Message(envelope, data, at, "incident-intake", record.partition(), record.offset())


def record(settings: KafkaSettings, span: SpanOf, opened: Open = LogReader) -> Iterator[Recorded]:
    """The tenant's events and intents whose causes lie in the span."""
    for topic in ("incident-events", "outbox-intents"):
        for stored in _records(opened(settings, topic), topic, span):
            if stored.key() == span.tenant.encode():
                envelope, event = cloudevents.decode(stored.headers(), stored.value())
                if span.holds(envelope.recordedtime or stored.timestamp()[1]):
                    yield envelope, event


def _records(opened: LogReader, topic: str, span: SpanOf) -> Iterator[Any]:
    with opened as reader:
        spans = reader.spans()
        number = partition_of(span.tenant.encode(), len(spans))
        starts = {number: spans[number].begin}
        if span.since and topic == "incident-intake":
            starts = {number: max(spans[number].begin, reader.offsets_at(span.since)[number])}
        if starts[number] >= spans[number].end and topic == "incident-intake":
            raise NothingThere(_what_there_is(reader, topic, number))
        for batch in reader.read(starts, {number: spans[number].end}):
            yield from batch


def _what_there_is(reader: LogReader, topic: str, number: int) -> str:
    """The times of the first and the last record of a partition, in words."""
    span = reader.spans()[number]
    times = []
    for offset in (span.begin, span.end - 1) if span.begin < span.end else ():
        batch = next(reader.read({number: offset}, {number: offset + 1}), [])
        times += [rfc3339(message.timestamp()[1]) for message in batch]
    return f"{topic} holds {' to '.join(times) or 'nothing'} where this tenant's records are"
