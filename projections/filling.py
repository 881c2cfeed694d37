"""Filling a generation from the record: one partition at a time, rows and positions in one transaction (R6).

A partition that was interrupted goes on from its position, and whoever is still writing it is fenced. Partitions share
nothing, so that each may be filled by a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait

import tenacity
from confluent_kafka import KafkaException

from projections import checkpoints
from projections.base import LogBeginsLater, Projection, Rebuildable, Record, SequenceGap
from projections.checkpoints import Checkpoint
from projections.connections import Connection, Plans, connect
from projections.registry import rebuildable
from projections.sources import Reading, Source
from projections.writer import TRANSIENT
from streams.runtime.settings import DatabaseSettings

_ATTEMPTS = 5
_FOLDING_S = 60
"""How long a batch, twenty times as large as the projector's, may be folded between two statements."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a process fills: ``generations`` (projection and number) of one partition, up to an offset."""

    source: Source
    database: DatabaseSettings
    generations: tuple[tuple[str, int], ...]
    partition: int
    until: int


def fill(task: Task) -> int:
    """Fill the partition; returns how many records were read. Safe to run again, also after a kill.

    Raises ``LogBeginsLater``, ``UnreadableRecord``, ``SequenceGap`` and ``Fenced``.
    """
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((*TRANSIENT, KafkaException)),
        wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5),
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        reraise=True,
    )
    return retry(_fill, task)


def _fill(task: Task) -> int:
    projections = [rebuildable(*one) for one in task.generations]  # anew: what they remember was rolled back
    with (
        connect(task.database, "projector", name="rebuild", autocommit=True) as connection,
        task.source.open() as reading,
    ):
        connection.execute("SET statement_timeout = 0")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_FOLDING_S}s'")
        connection.execute("SET synchronous_commit = off")  # a crash of the server loses rows with their position
        for projection in projections:
            projection.prepare(connection)
        held = Held(connection, projections, task.source, [task.partition])
        return held.take(reading, {task.partition: task.until}, _fill_one)


def _fill_one(projection: Rebuildable, connection: Connection, records: Sequence[Record]) -> int:
    return projection.fill(connection, records)


def apply_one(projection: Rebuildable, connection: Connection, records: Sequence[Record]) -> int:
    """Write as the projector does: for generations whose indexes are there."""
    return projection.apply(connection, records)


class Held:
    """Partitions of generations that nobody reads yet, taken over from whoever was writing them."""

    def __init__(
        self,
        connection: Connection,
        projections: Sequence[Rebuildable],
        source: Source,
        partitions: Iterable[int],
    ) -> None:
        self._connection = connection
        self._plans = Plans(connection)
        self._projections = projections
        self._sequences = _Sequences()
        self._held: dict[int, list[Checkpoint]] = {
            number: checkpoints.claim(connection, projections, source.topic, number, int) for number in partitions
        }

    def positions(self) -> dict[int, int]:
        """Where the generation that is furthest behind goes on, by partition."""
        return {number: min(one.next_offset for one in held) for number, held in self._held.items()}

    def take(
        self,
        reading: Reading,
        ends: Mapping[int, int],
        write: Callable[[Rebuildable, Connection, Sequence[Record]], int],
    ) -> int:
        """Write everything before ``ends`` and stand there; returns how many records were read."""
        starts = {number: at for number, at in self.positions().items() if at < ends.get(number, 0)}
        if not starts:
            return 0
        spans = reading.spans()
        for number, at in starts.items():
            if number not in spans or spans[number].begin > at:
                begin = spans[number].begin if number in spans else "nowhere"
                raise LogBeginsLater(f"partition {number} of the log begins at {begin}, {at} is needed")
        count = 0
        for records in reading.read(starts, {number: ends[number] for number in starts}):
            count += len(records)
            by_partition: dict[int, list[Record]] = {}
            for record in records:
                by_partition.setdefault(record.partition, []).append(record)
            for number, part in by_partition.items():
                self._write(number, part, part[-1].offset + 1, write)
        for number in starts:
            self._write(number, [], ends[number], write)
        return count

    def _write(
        self,
        number: int,
        records: Sequence[Record],
        following: int,
        write: Callable[[Rebuildable, Connection, Sequence[Record]], int],
    ) -> None:
        self._sequences.check(records)
        self._plans.batch()
        moves = {one: following for one in self._held[number] if one.next_offset < following}
        with self._connection.transaction():
            checkpoints.move(self._connection, moves)
            for projection, checkpoint in zip(self._projections, self._held[number], strict=True):
                due = [record for record in records if record.offset >= checkpoint.next_offset]
                if due:
                    write(projection, self._connection, due)
        self._held[number] = [replace(one, next_offset=moves.get(one, one.next_offset)) for one in self._held[number]]


class _Sequences:
    """The check that a tenant's events follow one another without a gap (R5), from where this run began."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def check(self, records: Iterable[Record]) -> None:
        last = self._last
        for record in records:
            tenant, number = record.envelope.tenantid, record.envelope.tenantsequence
            if last.get(tenant, number - 1) != number - 1:
                where = f"{record.topic}[{record.partition}]@{record.offset}"
                raise SequenceGap(f"{where}: tenant {tenant} has tenantsequence {number} after {last[tenant]}")
            last[tenant] = number


def end_with_parent() -> None:
    """Make this worker process end when the one that started it does, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker process has a parent"

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def positions(
    connection: Connection, projections: Iterable[Projection], topic: str
) -> dict[tuple[str, int], dict[int, int]]:
    """The stored positions of each projection and generation, by partition."""
    found: dict[tuple[str, int], dict[int, int]] = {}
    for projection in projections:
        rows = connection.execute(
            "SELECT partition, next_offset FROM ops.projection_checkpoints"
            " WHERE projection = %s AND generation = %s AND topic = %s",
            (projection.name, projection.generation, topic),
        )
        found[projection.name, projection.generation] = dict(rows.fetchall())
    return found
