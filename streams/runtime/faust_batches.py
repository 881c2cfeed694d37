"""Faust with partition batches: this module alone leans on the internals of faust-streaming 0.15.3.

``tests/streams/test_faust_contract.py`` names that version and checks what is leant on. What is replaced, and why, is
in ``docs/adr/0002-faust-with-partition-batches.md``.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import faust
import mode
import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import TopicPartition
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport.consumer import CONSUMER_FETCHING
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from yarl import URL

from streams.runtime.settings import KafkaSettings

log = structlog.get_logger(__name__)

FAUST_VERSION = "0.15.3"

RECORDS_A_MESSAGE = 1000
"""The most records that one message carries; larger fetches make several."""

Positions = Callable[[list[int]], Awaitable[Mapping[int, int]]]
"""Fences and restores the assigned partitions: their numbers in, the next offset of each out."""


class _ReadCommittedThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001  Faust offers it only with its own transactions
        return consumer

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        """Seek in what is still assigned: what a rebalance has taken away meanwhile is sought by whoever gets it."""
        assigned = consumer.assignment()
        mine = {tp: offset for tp, offset in partitions.items() if tp in assigned}
        with suppress(IllegalStateError):  # taken away after the seek
            await super()._seek_wait(consumer, mine)

    async def show(self, positions: Mapping[TP, int]) -> None:
        """Commit positions to the group; one that the group does not take now is shown a second later."""
        await self.call_thread(self._show, positions)

    async def _show(self, positions: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        mine = {tp: offset for tp, offset in positions.items() if tp in consumer.assignment()}
        try:
            await consumer.commit({TopicPartition(*tp): offset for tp, offset in mine.items()})
        except KafkaError as error:
            log.info("positions are not shown", error=repr(error))


class BatchConsumer(driver.Consumer):
    """Delivers one message per fetched partition batch (value: list of records) and keeps no positions of its own."""

    input_topic: str
    positions: Positions

    def _new_consumer_thread(self) -> _ReadCommittedThread:
        return _ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def show_positions(self, positions: Mapping[TP, int]) -> None:
        """Commit positions to the group, for lag displays and admission alone: nothing here ever reads them."""
        if positions and self.flow_active:
            thread: Any = self._thread  # a _ReadCommittedThread, which the type of the attribute does not say
            await thread.show(positions)

    @property
    def _stopped_errors(self) -> tuple[type[BaseException], ...]:
        return (*self.consumer_stopped_errors, asyncio.CancelledError)

    def ack(self, message: Any) -> bool:
        """Faust's own marks are not trusted: streams acknowledge even what they skip."""
        del message
        return False

    async def seek_to_committed(self) -> dict[TP, int]:
        """Go to the restored positions; Faust calls this after each assignment, before records flow."""
        mine = {tp.partition: tp for tp in self.assignment() if tp.topic == self.input_topic}
        found = await self.positions(sorted(mine))
        positions = {mine[number]: position for number, position in found.items()}
        if positions:
            await self.seek_wait(positions)
        return positions

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  inherited
        """Fetched records, as messages of up to ``RECORDS_A_MESSAGE`` records of one partition."""
        records, _ = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for tp, fetched in records.items():
            for start in range(0, len(fetched), RECORDS_A_MESSAGE):
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    return
                part = fetched[start : start + RECORDS_A_MESSAGE]
                yield tp, _message(tp, part, generation)

    async def _drain_messages(self, fetcher: Any) -> None:
        """As Faust's own, without counting gaps and acknowledgements; keeps the guard against a suspended flow."""
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001  as Faust's own does
                self.diag.set_flag(CONSUMER_FETCHING)
                batches = self.getmany(timeout=1.0)
                await self.sleep(0)
                if not self.should_stop:
                    async for tp, message in batches:
                        read = self._read_offset[tp]
                        if read is None or message.offset >= read:
                            await self.wait_first(self.callback(message), self.suspend_flow.wait())
                            self._read_offset[tp] = message.offset
                self.diag.unset_flag(CONSUMER_FETCHING)
        except self._stopped_errors:
            if not self.transport.app.should_stop:
                raise
        finally:
            self.diag.unset_flag(CONSUMER_FETCHING)


class SteadyAssignor(PartitionAssignor):
    """As Faust's own, but the input topic is never missing.

    A broker that has just started may not name it yet. Whoever leads the group then would assign nothing to anybody,
    and that would stand until the next look at the metadata, five minutes later.
    """

    input_topic: str
    partitions: Callable[[], int]

    @classmethod
    def _get_copartitioned_groups(cls, topics: Any, cluster: Any, subscriptions: Any) -> Any:
        return super()._get_copartitioned_groups(
            topics, _Known(cluster, cls.input_topic, cls.partitions()), subscriptions
        )


class _Known:
    """The cluster's metadata, with what is known of one topic where they lack it."""

    def __init__(self, cluster: Any, topic: str, partitions: int) -> None:
        self._cluster, self._topic, self._partitions = cluster, topic, partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        known: set[int] | None = self._cluster.partitions_for_topic(topic)
        return known or (set(range(self._partitions)) if topic == self._topic else None)


def _message(tp: TP, part: Any, generation: int) -> ConsumerMessage:
    last = part[-1]
    return ConsumerMessage(
        topic=tp.topic,
        partition=tp.partition,
        offset=last.offset,
        timestamp=last.timestamp / 1000,
        timestamp_type=last.timestamp_type,
        headers=None,
        key=None,
        value=part,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        tp=tp,
        generation_id=generation,
    )


def make_app(
    settings: KafkaSettings,
    *,
    application: str,
    instance: str,
    input_topic: str,
    positions: Positions,
    partitions: Callable[[], int],
) -> faust.App:
    """The Faust application of a worker.

    ``instance`` names the worker's slot (static membership); ``input_topic`` is the full name of what it reads, and
    ``partitions`` says how many partitions that has, once the application runs.
    """
    assigning = {"input_topic": input_topic, "partitions": staticmethod(partitions)}
    brokers = [URL(f"kafka://{server}") for server in settings.bootstrap_servers.split(",")]
    app = faust.App(
        settings.topic_prefix + application,
        broker=brokers,
        broker_credentials=_credentials(settings),
        store="memory://",
        datadir=tempfile.gettempdir(),  # nothing is kept there: the state is in Kafka
        processing_guarantee="at_least_once",
        consumer_group_instance_id=f"{settings.topic_prefix}{application}-{instance}",
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=4000,
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        broker_rebalance_timeout=10,
        broker_request_timeout=40,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        stream_buffer_maxsize=16,
        agent_supervisor=mode.CrashingSupervisor,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_replication_factor=1,
        reply_create_topic=False,
        web_enabled=False,
        PartitionAssignor=type("Assignor", (SteadyAssignor,), assigning),
        key_serializer="raw",
        value_serializer="raw",
    )
    consumer = type("Consumer", (BatchConsumer,), {"input_topic": input_topic, "positions": staticmethod(positions)})
    transport = type("Transport", (driver.Transport,), {"Consumer": consumer})
    app.transport = transport(brokers, app)
    app.producer_transport = transport(brokers, app)
    return app


def make_worker(app: faust.App) -> faust.Worker:
    """The process around the application: signals, event loop, orderly shutdown; it prints nothing by itself."""
    worker = faust.Worker(app, loglevel="WARN", quiet=True, blocking_timeout=None, override_logging=False)
    worker.spinner = None
    return worker


def _credentials(settings: KafkaSettings) -> Any:
    """The login, as Faust wants it; none for a plain connection."""
    context = ssl.create_default_context(cafile=settings.ssl_ca_file or None)
    match settings.security_protocol:
        case "PLAINTEXT":
            return None
        case "SSL":
            return faust.SSLCredentials(context)
        case protocol:
            return faust.SASLCredentials(
                mechanism=settings.sasl_mechanism,
                username=settings.sasl_username,
                password=settings.sasl_password.get_secret_value(),
                ssl_context=context if protocol == "SASL_SSL" else None,
            )
