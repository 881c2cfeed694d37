"""The one way to run an agent: Faust brings the batches, each partition has a lane of its own (R3)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvloop
from confluent_kafka import KafkaException
from faust.types import TP

from streams.domain.errors import IncidentsError
from streams.runtime import collector, health, metrics
from streams.runtime.faust_batches import make_app, make_worker
from streams.runtime.offsets import wait_for_topic
from streams.runtime.partition import Partition
from streams.runtime.ports import Processor, Record
from streams.runtime.settings import KafkaSettings
from streams.runtime.watchdog import Place, Watchdog, WatchSettings

log = structlog.get_logger(__name__)

RECORDS_A_TURN = 2000
CALM_S, STORM_S = 0.01, 0.05
"""How long a lane waits for more before a turn: in a storm longer, since a transaction costs the same for any size."""

PAUSE_ABOVE, RESUME_BELOW = 8000, 2000
"""Records waiting in a lane at which fetching of its partition stops and goes on."""

SHOW_EVERY_S = 1.0
"""How often positions are committed to the group."""

OLD_S = 30.0
"""Age of an undecided record at which the readiness check says it."""

EXIT_FATAL = 70
"""Exit status after an error that only a restart mends (EX_SOFTWARE of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What an agent reads and where its state is; ``make_processor`` is called with the partition's number."""

    application: str
    input_topic: str
    state_topic: str
    make_processor: Callable[[int], Processor]


@dataclass(slots=True)
class _Lane:
    """One partition's queue and the task that works it off."""

    partition: Partition
    waiting: deque[Record] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    last_turn: int = 0
    deciding: int = 0
    """Recorded time of the first record of the turn in progress; 0 between turns."""

    def clear(self) -> None:
        """Forget what waits: it is read again from the partition's position."""
        self.waiting.clear()
        self.arrived.clear()

    def oldest(self) -> int:
        """Recorded time of the oldest record that is here and not decided; 0 where there is none."""
        try:
            return self.deciding or self.waiting[0].timestamp
        except IndexError:
            return 0


class Worker:
    """A process of an agent: joins the group, owns partitions, decides their batches until it is stopped."""

    def __init__(
        self, settings: KafkaSettings, spec: AgentSpec, instance: str, watch: WatchSettings | None = None
    ) -> None:
        self._settings = settings
        self._watchdog = Watchdog(watch or WatchSettings(), settings, self._moving)
        self._spec = spec
        self._input = settings.topic(spec.input_topic)
        self._partitions = 0
        self._lanes: dict[int, _Lane] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._wanted: frozenset[int] = frozenset()
        self._assigned = False
        self._showing: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(thread_name_prefix="lane")
        self._app = make_app(
            settings,
            application=spec.application,
            instance=instance,
            input_topic=self._input,
            positions=self._positions,
            partitions=lambda: self._partitions,
        )
        source = self._app.topic(
            self._input, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        self._app.agent(source, name=spec.application)(self._dispatch)
        self._app.on_partitions_revoked.connect(self._revoked)

    def run(self, metrics_port: int = 0) -> None:
        """Run until SIGTERM or SIGINT; ends the process with ``EXIT_FATAL`` when only a restart can help."""
        collector.spare()
        uvloop.install()  # Faust asks for its loops by the policy: most of a small batch's cost is passing it on
        self._watchdog.start()
        metrics.ORCHESTRATOR_OLDEST_UNDECIDED_SECONDS.set_function(self._oldest_s)
        if metrics_port:
            health.serve(metrics_port, self._checks)
        self._partitions = wait_for_topic(self._settings, self._input)
        make_worker(self._app).execute_from_commandline()

    def _checks(self) -> Mapping[str, str]:
        paused = [f"{n}: {lane.partition.paused}" for n, lane in list(self._lanes.items()) if lane.partition.paused]
        parked = sum(lane.partition.parked() for lane in list(self._lanes.values()))
        oldest_s = self._oldest_s()
        return {
            "assignment": "ok" if self._assigned else "no assignment yet",
            "partitions": "; ".join(paused) or "ok",
            "intake": "ok" if oldest_s < OLD_S else f"{health.WARNING}a message waits for {oldest_s:.0f} s",
            "tenants": f"{health.WARNING}{parked} parked" if parked else "ok",
            **self._watchdog.checks(),
        }

    def _moving(self) -> Mapping[Place, int]:
        """The positions of the partitions that are worked on; a paused one waits for a newer version."""
        lanes = list(self._lanes.items())
        return {(self._input, number): lane.partition.position for number, lane in lanes if not lane.partition.paused}

    def _oldest_s(self) -> float:
        """Age of the oldest record that is here and not decided; else for how long the work stands still."""
        oldest = min(filter(None, (lane.oldest() for lane in list(self._lanes.values()))), default=0)
        return max(0.0, time.time() - oldest / 1000) if oldest else self._watchdog.still_s()

    async def _dispatch(self, stream: Any) -> None:
        """The agent's body: hand each batch to its partition's lane."""
        async for event in stream.noack().events():
            message = event.message
            lane = self._lanes.get(message.partition)
            if lane is None or message.generation_id != self._app.consumer_generation_id:
                continue  # of an earlier assignment: it comes again
            lane.waiting.extend(message.value)
            lane.idle.clear()
            lane.arrived.set()
            if len(lane.waiting) > PAUSE_ABOVE:
                self._app.consumer.pause_partitions({TP(self._input, message.partition)})

    async def _work(self, lane: _Lane) -> None:
        """A lane's task: turn after turn, for as long as the partition is here."""
        loop = asyncio.get_running_loop()
        tp = TP(self._input, lane.partition.number)
        while True:
            if not lane.waiting:
                lane.arrived.clear()
                lane.idle.set()
                await lane.arrived.wait()
                lane.idle.clear()
            if len(lane.waiting) < RECORDS_A_TURN:
                await asyncio.sleep(STORM_S if lane.last_turn > RECORDS_A_TURN // 10 else CALM_S)
            records = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), RECORDS_A_TURN))]
            if records:
                lane.deciding = records[0].timestamp
                await loop.run_in_executor(self._threads, self._turn, lane, records)
                lane.deciding, lane.last_turn = 0, len(records)
            if len(lane.waiting) < RESUME_BELOW:
                self._app.consumer.resume_partitions({tp})

    def _turn(self, lane: _Lane, records: Sequence[Record]) -> None:
        partition = lane.partition
        if records[0].offset > partition.position and not partition.paused:
            self._die(partition.number, f"offset {records[0].offset} came, {partition.position} was expected")
        try:
            partition.turn(records)
        except (IncidentsError, KafkaException) as error:
            self._die(partition.number, repr(error))

    def _die(self, number: int, why: str) -> None:
        """Leave at once: a clean shutdown can hang, and another worker owns the partition or should."""
        if self._lanes.get(number) is not None:
            log.critical("worker ends", partition=number, why=why)
            sys.stderr.flush()
            os._exit(EXIT_FATAL)

    async def _revoked(self, *_: Any, **__: Any) -> None:
        """Before a rebalance: finish the turns in flight, so that no transaction is left to be fenced."""
        for lane in self._lanes.values():
            lane.clear()
            lane.arrived.set()
        await asyncio.gather(*(lane.idle.wait() for lane in self._lanes.values()))

    async def _positions(self, numbers: list[int]) -> Mapping[int, int]:
        """Open the partitions that are new here, keep those that stayed, close those that left."""
        self._wanted = frozenset(numbers)
        for number in [number for number in self._lanes if number not in numbers]:
            self._close(self._lanes.pop(number))
        await asyncio.gather(*(self._opened(number) for number in numbers if number not in self._lanes))
        self._assigned = True
        if self._showing is None:
            self._showing = asyncio.create_task(self._show())
        log.info("assigned", partitions={n: lane.partition.position for n, lane in self._lanes.items()})
        return {number: lane.partition.position for number, lane in self._lanes.items()}

    def _opened(self, number: int) -> asyncio.Future[None]:
        """Done once the partition is open here; it is opened once, however many assignments ask for it meanwhile.

        Faust asks again when a rebalance follows another, and cancels who asked: opened twice, the second would fence
        the first, in this very process.
        """
        task = self._opening.get(number)
        if task is None:
            task = self._opening[number] = asyncio.create_task(self._open(number))
            task.add_done_callback(lambda _: self._opening.pop(number))
        return asyncio.shield(task)

    async def _show(self) -> None:
        """Tell the group where the partitions are, for lag displays and admission; never read back (R3)."""
        shown: dict[TP, int] = {}
        while True:
            await asyncio.sleep(SHOW_EVERY_S)
            here = {TP(self._input, number): lane.partition.position for number, lane in self._lanes.items()}
            consumer: Any = self._app.consumer  # a BatchConsumer, which Faust's type does not say
            await consumer.show_positions({tp: at for tp, at in here.items() if shown.get(tp) != at})
            shown = here

    async def _open(self, number: int) -> None:
        spec = self._spec

        def open_() -> Partition:
            return Partition(
                self._settings,
                application=spec.application,
                input_topic=spec.input_topic,
                state_topic=spec.state_topic,
                number=number,
                processor=spec.make_processor(number),
            )

        try:
            lane = _Lane(await asyncio.get_running_loop().run_in_executor(self._threads, open_))
        except (IncidentsError, KafkaException) as error:
            log.critical("partition cannot be opened", partition=number, why=repr(error))
            sys.stderr.flush()
            os._exit(EXIT_FATAL)
        if number not in self._wanted:  # it went to another worker meanwhile
            self._close(lane)
            return
        lane.task = asyncio.create_task(self._work(lane))
        self._lanes[number] = lane

    def _close(self, lane: _Lane) -> None:
        if lane.task is not None:
            lane.task.cancel()
        lane.partition.close()
