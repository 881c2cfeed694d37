"""Admission (R1): holds back webhooks where the intake's backlog grows, so that providers wait and people do not.

The rule. Once a second the backlog of each intake partition is read: its end minus what the workers have shown to their
group, turned into seconds by the rate at which the partition was last seen to drain. From ``WEBHOOKS_S`` on, a tenant
is held back that fills the partition: one whose share of what this process accepted for it in the last ``WINDOW_S``
seconds is at least its fair share, one n-th among n tenants. From twice that on every tenant of the partition is held
back, and from ``COMMANDS_S`` on commands too. What is not known (no broker, no worker yet, an old reading) holds nobody
back: Kafka itself refuses then, or keeps what comes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.domain.errors import Transient
from streams.runtime.offsets import ASK_S, asking, bounds, partitions
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import KafkaSettings

log = structlog.get_logger(__name__)

INTAKE, GROUP = "incident-intake", "incidents-orchestrator"
EVERY_S = 1.0
WEBHOOKS_S = 3.0
"""Two seconds of work, and one for the age of the reading."""

COMMANDS_S = 15.0
WINDOW_S = 10
FRESH_S = 5.0
"""An older reading says nothing."""

ASSUMED_RATE = 5_000.0
"""Records a second, until a partition was seen to drain."""

_BUSY = 100
"""Records in the backlog below which draining shows arrivals, not ability."""

_WEIGHT = 0.3
_RETRY_S = (1.0, 30.0)
_ASK_S = 5.0


class Overloaded(Transient):
    """Too much waits to be decided: come back after ``retry_after_s``."""


@dataclass(slots=True)
class Drain:
    """One partition's backlog over time: how many records, and how fast they are worked off."""

    rate: float = ASSUMED_RATE
    lag: int = 0
    read_at: float = float("-inf")
    decided: int = -1
    is_measured: bool = False

    def observe(self, now: float, end: int, decided: int) -> None:
        """Take a reading at ``now`` (seconds): the partition's end and the next offset to decide."""
        seconds, advanced = now - self.read_at, decided - self.decided
        if self.decided >= 0 and self.lag > _BUSY and advanced > 0 and 0 < seconds <= FRESH_S:
            weight = _WEIGHT if self.is_measured else 1.0
            self.rate += weight * (advanced / seconds - self.rate)
            self.is_measured = True
        self.lag, self.decided, self.read_at = max(0, end - decided), decided, now

    def seconds(self, now: float) -> float:
        """How long the backlog takes to work off; 0 where that is not known."""
        return self.lag / self.rate if now - self.read_at <= FRESH_S else 0.0


@dataclass(slots=True)
class Shares:
    """Who filled a partition lately: messages accepted by tenant, second by second."""

    seconds: deque[tuple[int, Counter[str]]] = field(default_factory=deque)

    def add(self, now: float, tenant: str, count: int) -> None:
        """Count messages that were accepted."""
        second = int(now)
        if not self.seconds or self.seconds[-1][0] != second:
            self.seconds.append((second, Counter()))
        self.seconds[-1][1][tenant] += count
        self._forget(now)

    def fills(self, now: float, tenant: str) -> bool:
        """Whether a tenant had at least one n-th of what n tenants sent."""
        self._forget(now)
        total: Counter[str] = Counter()
        for _, counts in self.seconds:
            total.update(counts)
        return total[tenant] * len(total) >= total.total() > 0

    def _forget(self, now: float) -> None:
        while self.seconds and self.seconds[0][0] <= now - WINDOW_S:
            self.seconds.popleft()


class Gate:
    """The rule, without any I/O; ``clock`` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._drains: dict[int, Drain] = {}
        self._shares: dict[int, Shares] = {}
        self._partitions = 0

    def observe(self, partitions: int, readings: Mapping[int, tuple[int, int]]) -> None:
        """Take a reading of the partitions that are known: (end, next offset to decide)."""
        now = self._clock()
        self._partitions = partitions
        for number, (end, decided) in readings.items():
            self._drains.setdefault(number, Drain()).observe(now, end, decided)

    def check(self, tenant: str, *, command: bool = False) -> None:
        """Raise ``Overloaded`` where the tenant has to wait: its webhooks, or (later) its commands."""
        if not self._partitions:
            return
        now, number = self._clock(), partition_of(tenant.encode(), self._partitions)
        drain = self._drains.get(number)
        waiting = drain.seconds(now) if drain else 0.0
        limit = COMMANDS_S if command else WEBHOOKS_S
        if waiting < limit:
            return
        if command or waiting >= 2 * limit or self._share(number).fills(now, tenant):
            least, most = _RETRY_S
            raise Overloaded(f"{waiting:.1f} s of work wait", min(max(least, waiting - limit + least), most))

    def waiting_s(self) -> float:
        """How long the longest backlog of a partition takes to work off; 0 where that is not known."""
        now = self._clock()
        return max((drain.seconds(now) for drain in list(self._drains.values())), default=0.0)

    def accepted(self, tenant: str, count: int) -> None:
        """Count what a tenant put on the intake."""
        if self._partitions:
            self._share(partition_of(tenant.encode(), self._partitions)).add(self._clock(), tenant, count)

    def _share(self, number: int) -> Shares:
        return self._shares.setdefault(number, Shares())


class Admission:
    """A gate that a background thread keeps informed; nothing here ever waits for Kafka but that thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._gate = Gate()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="admission", daemon=True)
        self.check = self._gate.check
        self.accepted = self._gate.accepted
        self.waiting_s = self._gate.waiting_s

    def start(self) -> Admission:
        """Begin to watch; never waits for the broker."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_ASK_S + EVERY_S)

    def _watch(self) -> None:
        asker = asking(self._settings, self._settings.topic(GROUP))
        while not self._stop.wait(EVERY_S):
            try:
                self._gate.observe(*read_backlog(asker, self._settings))
            except KafkaException as error:
                log.info("the backlog is not known", error=str(error.args[0]))


def read_backlog(asker: Consumer, settings: KafkaSettings) -> tuple[int, dict[int, tuple[int, int]]]:
    """The intake's partition count, and for each partition with a shown position (end, next offset to decide).

    Raises ``KafkaException`` when the broker does not answer.
    """
    topic = settings.topic(INTAKE)
    places = [(topic, number) for number in partitions(asker, topic)]
    shown = asker.committed([TopicPartition(*place) for place in places], timeout=ASK_S)
    decided = {tp.partition: tp.offset for tp in shown if tp.offset >= 0}
    ends = bounds(asker, [place for place in places if place[1] in decided])
    return len(places), {number: (ends[topic, number][1], offset) for number, offset in decided.items()}
