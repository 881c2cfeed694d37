"""The projector: reads the record and the intents from Kafka and writes the read models and the outbox (design 6).

Positions are those in PostgreSQL (R6); what it commits to the group only feeds lag displays.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from projections.base import LogBeginsLater, Projection, Record
from projections.checkpoints import Fenced
from projections.connections import connect
from projections.decoding import decode
from projections.registry import projections as registered
from projections.writer import TRANSIENT, Partition, Writer, rebuild_command
from streams.domain.catalogue import Topic
from streams.domain.errors import IncidentsError, InvalidEvent, UnknownSchema
from streams.runtime import metrics
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from streams.runtime.watchdog import Place, Watchdog, WatchSettings

GROUP = "incidents-projector"
_BATCH = 2_000
_BUSY = 200
"""Records in the last batch from which on more are likely waiting already."""
_IDLE_S, _DRAIN_S, _BUSY_S = 1.0, 0.005, 0.01
_COMMIT_EVERY_S = 5.0
_ASK_S = 10.0
_PROBE_S = 1.0
_REBUILT_S = 2.0
"""How often it is asked whether a read model that was left behind has been rebuilt."""

_LOG = structlog.get_logger()


class PoisonedRecord(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """A record that the orchestrator should never have written: somebody must look before anything goes on."""


class Projector:
    """One projector process; start more to share the partitions, each with a ``slot`` of its own or none."""

    def __init__(
        self,
        kafka: KafkaSettings,
        database: DatabaseSettings,
        stop: threading.Event,
        projections: Sequence[Projection] | None = None,
        watch: WatchSettings | None = None,
        slot: str = "",
    ) -> None:
        self._kafka = kafka
        self._slot = slot
        self._watchdog = Watchdog(watch or WatchSettings(), kafka, self._moving)
        self._stop = stop
        self._projections = projections or registered()
        self._topics: dict[str, Topic] = {kafka.topic(p.topic): p.topic for p in self._projections}
        self._writer = Writer(
            lambda: connect(database, "projector", name="projector", autocommit=True), self._projections, stop
        )
        self._positions: dict[Partition, int] = {}
        self._blocked: dict[Partition, str] = {}
        self._hinted = self._asked = 0.0
        self._joined = False
        self._consumer: Any = None
        self._kafka_problem = "joining the group"

    def run(self) -> None:
        """Project until ``stop`` is set, then leave the group in order.

        Raises ``Fenced``, ``SequenceGap``, ``PoisonedRecord`` or ``LogBeginsLater`` where going on would lose or
        invent something; a supervisor starts the process again.
        """
        metrics.PROJECTOR_STILL_SECONDS.set_function(self._watchdog.still_s)
        self._watchdog.start()
        self._consumer = Consumer({**_consumer_config(self._kafka, self._slot), "error_cb": self._noticed})
        try:
            self._writer.renew()
            self._consumer.subscribe(list(self._topics), on_assign=self._assigned, on_revoke=self._revoked)
            busy = False
            while not self._stop.is_set():
                messages = self._poll(busy=busy)
                busy = len(messages) >= _BUSY
                if messages:
                    self._handle(messages)
                elif self._kafka_problem and self._joined:
                    self._probe()
                self._take_up()
        except TRANSIENT:
            if not self._stop.is_set():
                raise
            _LOG.warning("projector.stopped_while_retrying")  # nothing of the batch was written
        finally:
            self._watchdog.stop()
            self._consumer.close()
            self._writer.close()

    def checks(self) -> Mapping[str, str]:
        """Readiness: Kafka and PostgreSQL answered when last used, and no partition waits for a newer version."""
        return {
            "kafka": self._kafka_problem or "ok",
            "postgresql": self._writer.problem or "ok",
            "schemas": "; ".join(self._blocked.values()) or "ok",
            "read_models": f"the log begins after them: {command}" if (command := self._remedy()) else "ok",
            "progress": self._watchdog.checks()["progress"],
        }

    def _remedy(self) -> str:
        """The command that lets read models go on that were left behind."""
        names = self._writer.left_behind()
        return f"run `{rebuild_command(names)}`" if names else ""

    def _take_up(self) -> None:
        """Go on with read models that were left behind and have been rebuilt since."""
        now = time.monotonic()
        if self._writer.left_behind() and now - self._asked >= _REBUILT_S:
            self._asked = now
            if self._writer.renew():
                self._go_on()

    def _moving(self) -> Mapping[Place, int]:
        """The positions that should move: none while PostgreSQL is away, for starting again would not bring it back."""
        if self._writer.problem:
            return {}
        written = self._writer.positions()
        return {
            (self._kafka.topic(topic), number): offset
            for (topic, number), offset in written.items()
            if (topic, number) not in self._blocked
        }

    def _noticed(self, error: Any) -> None:
        """The client's own reports; it goes on trying by itself."""
        if not self._kafka_problem:  # it says so again with every attempt to connect
            _LOG.warning("kafka.error", error=str(error))
        self._kafka_problem = str(error)

    def _probe(self) -> None:
        """After a fault: whether Kafka answers again. Asked by the polling thread, for the client hangs otherwise."""
        try:
            self._consumer.list_topics(next(iter(self._topics)), timeout=_PROBE_S)
        except KafkaException as error:
            self._kafka_problem = str(error)
        else:
            self._kafka_problem = ""

    def _poll(self, *, busy: bool) -> list[Any]:
        """What is there: when calm the first record is waited for at no cost, and then what came with it."""
        if busy:
            return list(self._consumer.consume(_BATCH, _BUSY_S))
        first = self._consumer.consume(1, _IDLE_S)
        return [*first, *self._consumer.consume(_BATCH - 1, _DRAIN_S)] if first else []

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        wanted = {(self._topics[partition.topic], partition.partition): partition for partition in partitions}
        for key, offset in self._claimed(wanted).items():
            wanted[key].offset = self._positions[key] = offset
            self._blocked.pop(key, None)
        _LOG.info("projector.assigned", partitions=[f"{p.topic}[{p.partition}]@{p.offset}" for p in partitions])
        metrics.PROJECTOR_PAUSED_PARTITIONS.set(len(self._blocked))
        consumer.assign(partitions)
        self._joined = True
        self._kafka_problem = ""

    def _claimed(self, wanted: Mapping[Partition, Any]) -> dict[Partition, int]:
        """Take the partitions over, in the generations that readers see; returns the offsets to read from."""
        while True:
            try:
                return {key: self._writer.claim(key, partial(self._log_start, there)) for key, there in wanted.items()}
            except Fenced:
                if not self._writer.renew():
                    raise

    def _go_on(self) -> None:
        """After a swap: write what readers see now, from where that stands; what was read and not written is dropped.

        It is read again, so that nothing is passed over.
        """
        held = {key: TopicPartition(self._kafka.topic(key[0]), key[1]) for key in self._positions}
        self._positions.update(self._claimed(held))
        places = self._read_from_positions()
        _LOG.info("projector.renewed", partitions=[f"{p.topic}[{p.partition}]@{p.offset}" for p in places])

    def _read_from_positions(self) -> list[Any]:
        """Fetch anew from where each partition stands; one that the client gave up cannot be sought."""
        places = [TopicPartition(self._kafka.topic(topic), n, offset) for (topic, n), offset in self._positions.items()]
        self._consumer.assign(places)
        self._consumer.pause([one for one in places if (self._topics[one.topic], one.partition) in self._blocked])
        return places

    def _revoked(self, _consumer: Any, partitions: list[Any]) -> None:
        keys = [(self._topics[partition.topic], partition.partition) for partition in partitions]
        self._writer.release(keys)
        for key in keys:
            self._positions.pop(key, None)
            self._blocked.pop(key, None)
        metrics.PROJECTOR_PAUSED_PARTITIONS.set(len(self._blocked))

    def _log_start(self, partition: Any) -> int:
        low, _ = self._consumer.get_watermark_offsets(partition, timeout=_ASK_S)
        return int(low)

    def _handle(self, messages: Sequence[Any]) -> None:
        batch: dict[Partition, list[Record]] = {}
        newest: dict[Partition, int] = {}
        poison: PoisonedRecord | None = None
        for message in messages:
            if message.error() is not None:
                self._judge(message)
                continue
            key = self._topics[message.topic()], message.partition()
            if key in self._blocked or message.offset() < self._positions.get(key, message.offset() + 1):
                continue  # of a partition that waits or went away, or read twice around a rebalance
            try:
                record = decode(*key, message.offset(), message.headers(), message.value())
            except UnknownSchema as error:
                self._block(key, message, str(error))
                continue
            except InvalidEvent as error:
                where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
                poison = poison or PoisonedRecord(f"{where}: {error}")
                self._blocked[key] = f"{where}: {error}"
                continue
            self._positions[key] = message.offset() + 1
            batch.setdefault(key, []).append(record)
            newest[key] = message.timestamp()[1]
        if batch:
            self._write(batch, newest)
        if poison is not None:
            raise poison

    def _write(self, batch: Mapping[Partition, Sequence[Record]], newest: Mapping[Partition, int]) -> None:
        started = time.perf_counter()
        try:
            self._writer.write(batch)
        except Fenced:
            if not self._writer.renew():
                raise
            self._go_on()
            return
        metrics.PROJECTOR_TRANSACTION_SECONDS.observe(time.perf_counter() - started)
        metrics.PROJECTOR_BATCH_RECORDS.observe(sum(map(len, batch.values())))
        for (topic, partition), milliseconds in newest.items():
            metrics.PROJECTOR_LAG_SECONDS.labels(topic, partition).set(max(time.time() - milliseconds / 1000, 0))
        if started - self._hinted >= _COMMIT_EVERY_S:
            self._hinted = started
            offsets = [TopicPartition(self._kafka.topic(t), p, offset) for (t, p), offset in self._positions.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _block(self, key: Partition, message: Any, reason: str) -> None:
        """Leave the partition where it is until a newer version of this program takes it up again (R12)."""
        where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        _LOG.error("projector.paused", at=where, reason=reason)
        self._blocked[key] = f"{where}: {reason}"
        metrics.PROJECTOR_PAUSED_PARTITIONS.set(len(self._blocked))
        self._consumer.pause([TopicPartition(message.topic(), message.partition())])

    def _judge(self, message: Any) -> None:
        """An error event of the client: it gets over most by itself."""
        error = message.error()
        where = f"{message.topic()}[{message.partition()}]"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001  the client names its own codes so
            self._out_of_range(message.topic(), message.partition(), message.offset())
            return
        if error.fatal():
            raise KafkaException(error)
        _LOG.warning("kafka.error", at=where, error=str(error))

    def _out_of_range(self, topic: str, number: int, asked: int | None) -> None:
        """The log has not what the projections go on from: only read models that were not yet there may wait.

        The client may report the place ``asked`` for more than once, and after it was left.
        """
        key = self._topics[topic], number
        wanted = self._positions.get(key)
        if wanted is None or (asked is not None and asked < wanted):
            return  # it went away meanwhile, or goes on from a later place
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ASK_S)
        if wanted >= low:
            raise LogBeginsLater(
                f"{topic}[{number}] holds offsets {low} to {high}, the projections go on from {wanted}"
            )
        self._positions[key] = self._writer.leave_behind(key, low)
        self._read_from_positions()


def _consumer_config(kafka: KafkaSettings, slot: str = "") -> dict[str, Any]:
    """With a slot the member is static (KIP-345): started again, it has its partitions back without a rebalance."""
    return {
        **kafka.librdkafka(),
        **({"group.instance.id": f"{kafka.topic(GROUP)}-{slot}"} if slot else {}),
        "group.id": kafka.topic(GROUP),
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "range",  # partition n of both topics goes to the same process
        "session.timeout.ms": 6_000,  # a killed process is replaced within ten seconds
        "heartbeat.interval.ms": 2_000,
        "fetch.wait.max.ms": 500,
        "queued.max.messages.kbytes": 16_384,
    }
