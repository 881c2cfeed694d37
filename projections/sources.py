"""Where a rebuild reads the record from: Kafka, or whatever else can give decoded records by partition and offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from projections.base import Record
from projections.decoding import decode
from streams.domain.catalogue import Topic
from streams.domain.errors import IncidentsError, InvalidEvent, UnknownSchema
from streams.runtime.log_reader import LogReader, Span
from streams.runtime.settings import KafkaSettings

BATCH = 20_000
"""Records that are decoded, written and committed together."""


class UnreadableRecord(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """A record of the log cannot be read; the message names its place. Nothing behind it was taken."""


class Reading(Protocol):
    """An open source."""

    def spans(self) -> Mapping[int, Span]:
        """What each partition holds."""

    def live_spans(self) -> Mapping[int, Span]:
        """What of it the projector can read: the log itself, without an archive."""

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterator[Sequence[Record]]:
        """The records from ``starts`` to before ``ends`` in batches, each partition in its order.

        Raises ``UnreadableRecord``.
        """


class Source(Protocol):
    """A topic that can be opened for reading, also in another process: it must be picklable."""

    @property
    def topic(self) -> Topic:
        """The topic of the catalogue."""

    def open(self) -> AbstractContextManager[Reading]:
        """Connect; the context closes the connection."""


@dataclass(frozen=True, slots=True)
class KafkaSource:
    """The log, committed records only; ``reader`` may know where to find what Kafka no longer holds."""

    settings: KafkaSettings
    topic: Topic = "incident-events"
    reader: Callable[[KafkaSettings, str], LogReader] = LogReader

    @contextmanager
    def open(self) -> Iterator[Reading]:
        """A reader with a connection of its own."""
        with self.reader(self.settings, self.topic) as reader:
            yield _KafkaReading(reader, self.topic)


class _KafkaReading:
    def __init__(self, reader: LogReader, topic: Topic) -> None:
        self._reader = reader
        self._topic = topic

    def spans(self) -> Mapping[int, Span]:
        return self._reader.spans()

    def live_spans(self) -> Mapping[int, Span]:
        return self._reader.live_spans()

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterator[list[Record]]:
        for messages in self._reader.read(starts, ends, BATCH):
            yield [self._decoded(message) for message in messages]

    def _decoded(self, message: Any) -> Record:
        try:
            return decode(self._topic, message.partition(), message.offset(), message.headers(), message.value())
        except (InvalidEvent, UnknownSchema) as error:
            where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
            raise UnreadableRecord(f"{where}: {type(error).__name__}: {error}") from error
