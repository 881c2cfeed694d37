"""A transactional producer of one input partition: all of a batch's writes become visible together, or none (R3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from streams.domain.errors import IncidentsError
from streams.runtime.ports import Write
from streams.runtime.settings import KafkaSettings

log = structlog.get_logger(__name__)

TRANSACTION_TIMEOUT_MS = 15_000
_CALL_S = 5.0
_ATTEMPTS = 5
_QUEUE_MESSAGES = 300_000


class Fenced(IncidentsError):  # noqa: N818  as Kafka calls it
    """Another producer has taken over the transactional id, or the producer cannot go on: the process must end."""


class WriteFailed(IncidentsError):  # noqa: N818
    """Kafka will never take these writes as they are (one is too large, say); nothing of them is visible."""


class Unavailable(IncidentsError):  # noqa: N818
    """The transaction was aborted again and again for reasons that lie with the brokers: the process must end.

    Nothing is wrong with the writes, so nothing may be dead-lettered for it.
    """


_REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.POLICY_VIOLATION,
        KafkaError._INVALID_ARG,  # noqa: SLF001  its only name
    }
)
"""Errors that lie with the writes themselves."""


class TransactionalWriter:
    """Writes batches to one partition number, each in one transaction.

    Opening fences the former owner of ``transactional_id`` and aborts what it left open, so it comes before restoring.
    """

    def __init__(self, settings: KafkaSettings, transactional_id: str, partition: int) -> None:
        self._partition = partition
        self._log = log.bind(transactional_id=transactional_id)
        self._producer = Producer(
            settings.librdkafka()
            | {
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 0,
                "compression.type": "lz4",
                "queue.buffering.max.messages": _QUEUE_MESSAGES,
            }
        )
        self._until_done(self._producer.init_transactions)

    def write(self, writes: Sequence[Write]) -> None:
        """Write all in one transaction.

        Raises ``WriteFailed`` when Kafka refuses them, ``Fenced`` when this writer is no longer the owner,
        ``Unavailable`` when the brokers do not let any transaction through.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._attempt(writes)
                return
            except KafkaException as error:
                cause: KafkaError = error.args[0]
                if cause.fatal():
                    raise Fenced(str(cause)) from error
                self._log.warning("transaction aborted", error=str(cause), attempt=attempt, writes=len(writes))
                self._abort()
                if cause.code() in _REFUSED:
                    raise WriteFailed(str(cause)) from error
                if attempt == _ATTEMPTS:
                    raise Unavailable(str(cause)) from error
                time.sleep(0.05 * 2**attempt)
            except BufferError as error:
                self._abort()
                raise WriteFailed(f"a batch of {len(writes)} writes is larger than the producer's queue") from error

    def close(self) -> None:
        """Let go of the producer; an open transaction is aborted by its successor."""
        self._producer.purge()
        self._producer.flush(0)

    def _attempt(self, writes: Sequence[Write]) -> None:
        self._producer.begin_transaction()
        produce = self._producer.produce
        for write in writes:
            produce(
                write.topic,
                key=write.key,
                value=write.value,
                headers=list(write.headers),
                partition=self._partition,
            )
        self._until_done(self._producer.commit_transaction)

    def _abort(self) -> None:
        try:
            self._until_done(self._producer.abort_transaction)
        except KafkaException as error:
            if error.args[0].fatal():
                raise Fenced(str(error.args[0])) from error
            raise

    def _until_done(self, call: Callable[[float], None]) -> None:
        """Call again for as long as the broker is away: librdkafka asks for that, and giving up decides nothing."""
        began = time.monotonic()
        while True:
            try:
                call(_CALL_S)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                self._log.warning("broker does not answer", waited_s=round(time.monotonic() - began, 1))
                time.sleep(0.1)
