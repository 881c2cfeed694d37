"""The watchdog: a process whose work stands still although there is some ends, so that its supervisor starts it again.

Every few seconds the ends of the partitions that the process holds are read from Kafka and compared with its positions.
What is not known (no broker, a frozen machine) counts as no time at all: no restart mends that.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.runtime import metrics
from streams.runtime.offsets import asking, bounds
from streams.runtime.settings import KafkaSettings

log = structlog.get_logger(__name__)

EXIT_STALLED = 75
"""Exit status of a process that ended because its work stood still (EX_TEMPFAIL of sysexits.h)."""

SLOW_S = 10.0
"""A position that stands still for so long is said by the readiness check."""

GROWTH_S = 600.0
_ASK_S = 5.0
_MISSED = 3
"""Readings in a row that may be missing before what was measured is forgotten."""

K = TypeVar("K", bound=Hashable)


class WatchSettings(BaseSettings):
    """When a process ends itself (environment prefix ``INCIDENTS_WATCH_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_WATCH_", extra="ignore", env_ignore_empty=True)

    stall_s: float = Field(60.0, ge=0, description="without progress although there is work, then it exits; 0: never")
    every_s: float = Field(5.0, gt=0, description="how often positions are compared with the ends of the log")


class Progress(Generic[K]):
    """Since when positions stand still although there is work; times in seconds, from any steady clock."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._at = float("-inf")
        self._still: dict[K, tuple[int, float]] = {}

    def observe(self, now: float, working: Mapping[K, int]) -> None:
        """Take the positions of all that has work; a reading long after the last one begins anew."""
        if now - self._at > self._patience_s:
            self._still = {}
        self._at = now
        still: dict[K, tuple[int, float]] = {}
        for key, position in working.items():
            before, since = self._still.get(key, (position, now))
            still[key] = (position, since if before == position else now)
        self._still = still

    def longest(self) -> tuple[K, float] | None:
        """What stands still for longest although there is work, and for how many seconds."""
        found = max(self._still.items(), key=lambda item: self._at - item[1][1], default=None)
        return (found[0], self._at - found[1][1]) if found else None


class Growth:
    """How much a counter grew within ``GROWTH_S`` seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def observe(self, now: float, total: float) -> None:
        """Take a sample."""
        self._samples.append((now, total))
        while now - self._samples[0][0] > GROWTH_S:
            self._samples.popleft()

    def recent(self) -> int:
        """The growth between the oldest sample that counts and the newest."""
        return int(self._samples[-1][1] - self._samples[0][1]) if self._samples else 0


Place = tuple[str, int]
"""A partition: the topic's full name and the number."""

Positions = Callable[[], Mapping[Place, int]]
"""The next offset of each partition that should be moving now."""


class Watchdog:
    """Watches a process from a thread of its own; ``end`` is called with the reason when it has to go."""

    def __init__(
        self,
        settings: WatchSettings,
        kafka: KafkaSettings,
        positions: Positions,
        end: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._kafka = kafka
        self._positions = positions
        self._end = end or leave
        self._progress: Progress[Place] = Progress(_MISSED * settings.every_s + _ASK_S)
        self._dead_letters = Growth()
        self._last: Mapping[Place, int] = {}
        self._tried: dict[Place, tuple[int, int, bool]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; the thread ends by itself."""
        self._stop.set()

    def still_s(self) -> float:
        """Seconds for which a partition has stood still although records wait; 0 where none does."""
        still = self._progress.longest()
        return still[1] if still else 0.0

    def checks(self) -> dict[str, str]:
        """For readiness: standing still and dead letters are warnings, since sending others here mends neither."""
        still = self._progress.longest()
        grown = self._dead_letters.recent()
        letters = f"warning: {grown} dead letters in the last {GROWTH_S / 60:.0f} minutes" if grown else "ok"
        is_slow = still is not None and still[1] >= SLOW_S
        return {"progress": f"warning: {_told(still)}" if still and is_slow else "ok", "dead_letters": letters}

    def _watch(self) -> None:
        asker = asking(self._kafka, self._kafka.topic("incidents-watchdog"))
        while not self._stop.wait(self._settings.every_s):
            positions = self._positions()
            try:
                working = self._with_work(positions, committed_ends(asker, positions))
            except (KafkaException, TimeoutError) as error:
                log.info("the ends of the log are not known", error=str(error))
                continue
            now = time.monotonic()
            self._progress.observe(now, working)
            self._dead_letters.observe(now, dead_letters())
            still = self._progress.longest()
            if still is not None and 0 < self._settings.stall_s <= still[1]:
                self._end(_told(still))

    def _with_work(self, positions: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, int]:
        """The positions behind which there are records.

        Behind the last record of a transaction stands its marker, so that a position may never reach the end: where one
        has not moved since the last look, it is tried once whether there is anything to read.
        """
        working = {place: positions[place] for place, end in ends.items() if positions[place] < end}
        doubtful = {
            place: position
            for place, position in working.items()
            if self._last.get(place) == position and self._tried.get(place, (0, 0, True))[:2] != (position, ends[place])
        }
        if doubtful:
            found = readable(self._kafka, doubtful)
            self._tried |= {place: (at, ends[place], place in found) for place, at in doubtful.items()}
        self._last = positions
        return {place: at for place, at in working.items() if not self._is_empty(place, at, ends[place])}

    def _is_empty(self, place: Place, position: int, end: int) -> bool:
        return self._tried.get(place) == (position, end, False)


def _told(still: tuple[Place, float]) -> str:
    (topic, number), seconds = still
    return f"{topic}[{number}] stands still for {seconds:.0f} s although records wait"


def committed_ends(asker: Consumer, places: Iterable[Place]) -> dict[Place, int]:
    """The end of each partition for readers of committed records; raises ``KafkaException``."""
    return {place: end for place, (_, end) in bounds(asker, places).items()}


def readable(kafka: KafkaSettings, positions: Mapping[Place, int]) -> set[Place]:
    """Where a committed record stands at or behind the position; raises ``KafkaException`` or ``TimeoutError``."""
    consumer = Consumer(
        {
            **kafka.librdkafka(),
            "group.id": kafka.topic("incidents-watchdog"),  # required by the client, never joined
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 1024,
            "log_level": 2,
        }
    )
    found: set[Place] = set()
    seen: set[Place] = set()
    deadline = time.monotonic() + _ASK_S
    try:
        consumer.assign([TopicPartition(*place, position) for place, position in positions.items()])
        while seen < positions.keys():
            if time.monotonic() > deadline:
                raise TimeoutError("Kafka gave no record and no end")
            message = consumer.poll(0.2)
            if message is None:
                continue
            place = (str(message.topic()), int(message.partition() or 0))
            error = message.error()
            if error is None:
                found.add(place)
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  its only name
                raise KafkaException(error)
            seen.add(place)
    finally:
        consumer.close()
    return found


def dead_letters() -> float:
    """How many dead letters this process has written."""
    return sum(
        sample.value
        for metric in metrics.DEAD_LETTERS.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def leave(why: str) -> None:
    """End the process at once: what stands still may not come to an orderly end, and its work is safe (R3, R6)."""
    log.critical("the work stands still, the process ends", why=why)
    sys.stderr.flush()
    os._exit(EXIT_STALLED)
