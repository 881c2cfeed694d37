"""One input partition: restore, then turn batches into transactions (R3, R9).

A record that raises is rolled back alone. A batch whose writes keep failing is cut in halves until the culprit stands
alone, which is dead-lettered by reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson
import structlog
from confluent_kafka import KafkaException

from streams.domain.errors import InvalidEvent, UnknownSchema
from streams.runtime import metrics
from streams.runtime.ports import Processor, Record, Turn, Write
from streams.runtime.restore import LogTruncated, check_reachable, restore
from streams.runtime.settings import KafkaSettings
from streams.runtime.transaction import Fenced, TransactionalWriter, Unavailable, WriteFailed

log = structlog.get_logger(__name__)

POSITION = b"\x1fposition"
"""The key of the item that holds the next input offset; no tenant's key begins with this byte."""

POSITION_FORMAT = 1
ATTEMPTS = 3
"""How often a batch is tried at one position before it is cut in halves."""

DECISION_FAILED = "decision-failed"
BATCH_FAILED = "batch-failed"

_Feed = Callable[[Turn, Sequence[Record]], int]
"""Puts records into a turn; the position after them."""


class Partition:
    """The owner of one input partition; ``position`` is the next offset to decide.

    ``paused`` says why it stands still (empty: it does not): an unknown schema waits for a newer version (R12).
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        application: str,
        input_topic: str,
        state_topic: str,
        number: int,
        processor: Processor,
    ) -> None:
        self.number = number
        self.position = 0
        self.paused = ""
        self._processor = processor
        self._settings = settings
        self._input = settings.topic(input_topic)
        self._state = settings.topic(state_topic)
        self._log = log.bind(topic=self._input, partition=number)
        self._label = str(number)
        transactional_id = f"{settings.topic_prefix}{application}-{input_topic}-{number}"
        self._writer = TransactionalWriter(settings, transactional_id, number)
        self._restore()
        check_reachable(settings, self._input, number, self.position)

    def turn(self, records: Sequence[Record]) -> int:
        """Decide records in offset order and commit them; how many were new (those below the position are not).

        Raises ``Fenced`` when the partition has another owner, ``WriteFailed`` when not even a refusal can be written.
        """
        new = [record for record in records if record.offset >= self.position]
        if self.paused or not new:
            return 0
        began = time.perf_counter()
        self._settle(new)
        metrics.ORCHESTRATOR_TRANSACTION_SECONDS.observe(time.perf_counter() - began)
        metrics.ORCHESTRATOR_BATCH_RECORDS.observe(len(new))
        metrics.ORCHESTRATOR_POSITION.labels(self._label).set(self.position)
        lag = max(0.0, time.time() - new[-1].timestamp / 1000)
        metrics.ORCHESTRATOR_INTAKE_LAG_SECONDS.labels(self._label).set(lag)
        metrics.ORCHESTRATOR_PARKED_TENANTS.labels(self._label).set(self._processor.parked())
        return len(new)

    def parked(self) -> int:
        """How many tenants are parked."""
        return self._processor.parked()

    def close(self) -> None:
        """Let go of the partition."""
        self._writer.close()

    def _settle(self, records: Sequence[Record]) -> None:
        """Commit records, in parts where the whole does not go through."""
        for _ in range(ATTEMPTS):
            if self.paused or self._attempt(records, self._decide):
                return
        if len(records) > 1:
            middle = len(records) // 2
            self._settle(records[:middle])
            self._settle(records[middle:])
        elif not self._attempt(records, self._refuse):
            raise WriteFailed(f"{self._input}[{self.number}]@{records[0].offset} can be neither decided nor refused")

    def _attempt(self, records: Sequence[Record], feed: _Feed) -> bool:
        """Decide and write; whether it worked. Where it did not, the state is as the topic has it."""
        try:
            turn = self._processor.turn(records[0].offset, records[-1].offset)
            position = feed(turn, records)
            if position > self.position:
                self._write(turn, position)
        except (Fenced, LogTruncated, Unavailable, KafkaException):
            raise
        except Exception as error:  # noqa: BLE001  the partition loop: no batch is lost or half done (R9)
            metrics.ORCHESTRATOR_BATCH_FAILURES.labels(self._label).inc()
            self._log.exception("batch failed", first=records[0].offset, last=records[-1].offset, error=repr(error))
            self._restore()
            return False
        return True

    def _write(self, turn: Turn, position: int) -> None:
        writes = turn.finish()
        state = [Write(self._state, key, value) for key, value in writes.state]
        here = Write(self._state, POSITION, orjson.dumps([POSITION_FORMAT, position]))
        self._writer.write([*writes.outputs, *state, here])
        self._processor.committed()
        self.position = position

    def _decide(self, turn: Turn, records: Sequence[Record]) -> int:
        for record in records:
            try:
                turn.take(record)
            except InvalidEvent as error:
                turn.refuse(record, error.reason, error.detail)
            except UnknownSchema as error:
                self.paused = f"offset {record.offset}: {error}"
                self._log.error("paused", offset=record.offset, error=str(error))
                return record.offset
            except Exception as error:  # noqa: BLE001  the partition loop: a record that raises is rolled back alone
                self._log.exception("decision failed", offset=record.offset, key=record.key)
                turn.refuse(record, DECISION_FAILED, repr(error))
        return records[-1].offset + 1

    def _refuse(self, turn: Turn, records: Sequence[Record]) -> int:
        for record in records:
            turn.refuse(record, BATCH_FAILED, f"its batch failed {ATTEMPTS} times")
        return records[-1].offset + 1

    def _restore(self) -> None:
        began = time.perf_counter()
        self._processor.reset()
        self.position = 0
        read = restore(self._settings, self._state, self.number, self._load)
        seconds = time.perf_counter() - began
        metrics.ORCHESTRATOR_RESTORE_SECONDS.labels(self._label).set(seconds)
        self._log.info("restored", records=read, position=self.position, seconds=round(seconds, 3))

    def _load(self, key: bytes, value: bytes | None) -> None:
        if key != POSITION:
            self._processor.load(key, value)
            return
        format_, position = orjson.loads(value or b"[0,0]")
        if format_ != POSITION_FORMAT:
            raise UnknownSchema(f"position of {self._state}[{self.number}] has format {format_}")
        self.position = position
