"""Dead letters: what the orchestrator could not take, to be listed, put back on the intake, or dropped (R9).

What became of a letter is itself a record in the same partition of the dead-letter topic, written after it: without a
value, with the headers ``dlq_state`` (replayed or dropped), ``dlq_ref`` (``<partition>:<offset>`` of the letter),
``dlq_at`` (milliseconds) and ``dlq_actor``. Nothing is ever changed in place, and a letter's marks outlive it.

A replay is written before its mark: a crash in between leaves the letter waiting, and replaying it once more changes
nothing, because it has the identity that it had the first time (R4).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from streams.domain.errors import IncidentsError
from streams.runtime.dead_letter import (
    REPLAYED,
    DeadLetter,
    Mark,
    Original,
    Place,
    mark_headers,
    read_letter,
    read_mark,
    read_original,
)
from streams.runtime.settings import KafkaSettings

TOPIC = "incident-intake-dlq"
BATCH = 500
"""Letters that are written back and marked together."""

_TIMEOUT_S = 30.0
_NO_PARTITION = (KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART)  # noqa: SLF001  its only name


_PASSING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._TRANSPORT,  # noqa: SLF001  its only name
)


def _is_passing(error: BaseException) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in _PASSING


_patiently = retry(
    retry=retry_if_exception(_is_passing), wait=wait_fixed(0.2), stop=stop_after_delay(_TIMEOUT_S), reraise=True
)
"""For questions to the broker that has just created a topic, or is electing a leader."""


class UnknownLetter(IncidentsError):  # noqa: N818
    """There is no dead letter at this place: none ever was, or it is older than the topic keeps."""


class SourceGone(IncidentsError):  # noqa: N818
    """A letter holds only a reference, and the intake no longer has the record that it refers to."""


class NotWritten(IncidentsError):  # noqa: N818
    """Kafka did not acknowledge a replay or a mark: what is still waiting can be replayed again."""


class DeadLetters:
    """The dead-letter topic of the intake, read as committed and only ever added to."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topic = settings.topic(TOPIC)
        self._intake = self._topic.removesuffix("-dlq")
        self._producer: Any = None

    def letters(self, *, since: int = 0) -> Iterator[DeadLetter]:
        """Every letter since a time (milliseconds), each partition in its order, with what became of it.

        Reads twice: what became of a letter stands behind it. What is added meanwhile is not in it.
        """
        starts = self._starts(since)
        ends = self._ends(starts)
        marks = dict(mark for record in self._read(starts, ends) if (mark := read_mark(record)))
        for record in self._read(starts, ends):
            if read_mark(record) is None:
                yield read_letter(record, marks)

    def find(self, places: Iterable[Place]) -> list[DeadLetter]:
        """The letters at these places, in their order there; raises ``UnknownLetter``."""
        wanted = sorted(set(places))
        starts: dict[int, int] = {}
        for place in reversed(wanted):
            starts[place.partition] = place.offset
        found, marks = {}, {}
        for record in self._read(starts, self._ends(starts)):
            if mark := read_mark(record):
                marks[mark[0]] = mark[1]
            elif (place := Place(record.partition(), record.offset())) in wanted:
                found[place] = record
        if missing := [str(place) for place in wanted if place not in found]:
            raise UnknownLetter(f"no dead letter at {', '.join(missing)}")
        return [read_letter(found[place], marks) for place in wanted]

    def original(self, letter: DeadLetter) -> Original:
        """The record as it came, fetched from its topic where the letter only refers to it; raises ``SourceGone``."""
        if letter.original.value is not None:
            return letter.original
        starts = {letter.partition: letter.offset}
        for record in self._read(starts, {letter.partition: letter.offset + 1}, self._intake):
            if record.offset() == letter.offset:
                return read_original(record)
        raise SourceGone(f"{self._intake}[{letter.partition}] no longer holds offset {letter.offset}")

    def replay(self, batch: Sequence[tuple[DeadLetter, Sequence[Original]]], actor: str, at: int) -> None:
        """Put what stands for each letter back on the intake, and once Kafka has all of it, mark the letters.

        Raises ``NotWritten``.
        """
        for letter, records in batch:
            for record in records:
                headers = [*record.headers, (REPLAYED, str(letter.place).encode())]
                self._produce(self._intake, record.key, record.value, headers)
        self._flush()
        self.mark([letter for letter, _ in batch], Mark("replayed", at, actor))

    def mark(self, letters: Sequence[DeadLetter], mark: Mark) -> None:
        """Remember what became of letters; raises ``NotWritten``."""
        for letter in letters:
            headers = mark_headers(letter.place, mark)
            self._produce(self._topic, letter.original.key, None, headers, letter.place.partition)
        self._flush()

    @_patiently
    def _starts(self, since: int) -> dict[int, int]:
        consumer = self._consumer()
        try:
            metadata = consumer.list_topics(self._topic, timeout=_TIMEOUT_S).topics[self._topic]
            if metadata.error is not None:
                raise KafkaException(metadata.error)
            asked = [TopicPartition(self._topic, number, since) for number in metadata.partitions]
            found = consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)
        finally:
            consumer.close()
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}  # below 0: nothing so late

    @_patiently
    def _ends(self, starts: Mapping[int, int]) -> dict[int, int]:
        consumer = self._consumer()
        try:
            return {
                number: consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=_TIMEOUT_S)[1]
                for number in starts
            }
        except KafkaException as error:
            if error.args[0].code() in _NO_PARTITION:
                raise UnknownLetter(f"{self._topic} has no such partition") from error
            raise
        finally:
            consumer.close()

    def _read(self, starts: Mapping[int, int], ends: Mapping[int, int], topic: str = "") -> Iterator[Any]:
        """The committed records from ``starts`` to before ``ends``."""
        left = {number for number, end in ends.items() if starts[number] < end}
        if not left:
            return
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(topic or self._topic, number, starts[number]) for number in left])
            heard = time.monotonic()
            while left:
                records = consumer.consume(BATCH, 0.2)
                if not records and time.monotonic() - heard > _TIMEOUT_S:
                    raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT, f"{topic or self._topic}: no answer"))
                for record in records:
                    number, error = record.partition(), record.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  its only name
                        if error.code() not in _PASSING:
                            raise KafkaException(error)
                        continue
                    heard = time.monotonic()
                    if error is not None or record.offset() >= ends[number]:
                        left.discard(number)
                    elif number in left:
                        yield record
                        if record.offset() + 1 >= ends[number]:
                            left.discard(number)
        finally:
            consumer.close()

    def _consumer(self) -> Any:
        return Consumer(
            self._settings.librdkafka()
            | {
                "group.id": f"{self._settings.topic_prefix}incidents-dead-letters",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 50,
            }
        )

    def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        partition: int | None = None,
    ) -> None:
        if self._producer is None:
            self._producer = _Producer(self._settings)
        self._producer.produce(topic, key, value, headers, partition)

    def _flush(self) -> None:
        if self._producer is not None:
            self._producer.flush()


class _Producer:
    """Writes and waits until Kafka has it all."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._failed: list[str] = []
        self._producer = Producer(
            settings.librdkafka()
            | {
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": int(_TIMEOUT_S * 1000),
                "message.max.bytes": 1_114_112,
            }
        )

    def produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        partition: int | None,
    ) -> None:
        where = {} if partition is None else {"partition": partition}
        self._producer.produce(topic, key=key, value=value, headers=list(headers), on_delivery=self._delivered, **where)

    def flush(self) -> None:
        left = self._producer.flush(_TIMEOUT_S + 5)
        failed, self._failed = self._failed, []
        if left or failed:
            raise NotWritten(failed[0] if failed else f"{left} records were not acknowledged")

    def _delivered(self, error: KafkaError | None, record: object) -> None:
        del record
        if error is not None:
            self._failed.append(str(error))
