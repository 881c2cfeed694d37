"""One PostgreSQL transaction for each batch: rows of all projections, checkpoints and notifications (R6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import psycopg
import structlog
import tenacity

from projections import checkpoints
from projections.base import LogBeginsLater, Projection, Record
from projections.checkpoints import Checkpoint
from projections.connections import Connection, Plans
from projections.registry import READ_MODELS, of_generations
from projections.sequences import TenantSequences
from streams.domain.catalogue import Topic
from streams.runtime.metrics import PROJECTOR_ROWS

TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout)
"""Absence of the server, a lost connection, deadlock, time limits: the same again may work."""

_LOG = structlog.get_logger()
_NEEDED = "timeline_entries"
"""Every event's sequence is checked against its rows."""
Partition = tuple[Topic, int]
T = TypeVar("T")


class Writer:
    """Holds the connection and the checkpoints of the partitions that this process has.

    ``connect`` opens a connection in autocommit mode. Transient faults are tried again, with growing pauses of at most
    five seconds, until ``stop`` is set; ``problem`` says meanwhile what is wrong (empty: nothing).
    """

    def __init__(
        self, connect: Callable[[], Connection], projections: Sequence[Projection], stop: threading.Event
    ) -> None:
        self._connect = connect
        self._projections = projections
        self._held: dict[Partition, list[Checkpoint]] = {}
        self._left: dict[Partition, list[Checkpoint]] = {}
        self._connection: Connection | None = None
        self._plans: Plans | None = None
        self._sequences = _sequences(projections)
        self.problem = ""
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TRANSIENT),
            wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=5, jitter=0.2),
            stop=tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._say,
            reraise=True,
        )

    def claim(self, partition: Partition, log_start: Callable[[], int]) -> int:
        """Take the partition over, fencing whoever had it; returns the offset to read from.

        Raises ``Fenced`` when readers see another generation than this one writes: ``renew`` and claim again.
        """
        self._sequences.forget()
        topic, number = partition
        held = self._retried(lambda c, _: checkpoints.claim_serving(c, self._projections, topic, number, log_start))
        self._held[partition] = held
        self._left.pop(partition, None)
        return min(checkpoint.next_offset for checkpoint in held)

    def leave_behind(self, partition: Partition, begin: int) -> int:
        """Go on without the read models whose position lies before ``begin``, where the log begins now.

        A rebuild from the archive gives them a generation that can go on. Returns the offset to read from for the
        others; raises ``LogBeginsLater`` where one of those that stand before it must not be left behind.
        """
        stranded = [one for one in self._held[partition] if one.next_offset < begin]
        names = [one.projection for one in stranded]
        if not stranded or not set(names) < set(READ_MODELS) - {_NEEDED}:
            raise LogBeginsLater(_explained(partition, begin, stranded))
        _LOG.error("projector.left_behind", reason=_explained(partition, begin, stranded))
        self._left[partition] = [*self._left.get(partition, ()), *stranded]
        self._held[partition] = [one for one in self._held[partition] if one not in stranded]
        return min(checkpoint.next_offset for checkpoint in self._held[partition])

    def left_behind(self) -> tuple[str, ...]:
        """The read models that stand still until they are rebuilt; safe from another thread."""
        return tuple(sorted({one.projection for its in list(self._left.values()) for one in its}))

    def renew(self) -> bool:
        """Go over to the generations that readers see now; returns whether they are others. Then claim again."""
        serving = self._retried(lambda connection, _: checkpoints.active(connection))
        renewed = of_generations(self._projections, serving)
        if [one.generation for one in renewed] == [one.generation for one in self._projections]:
            return False
        self.close()  # with the temporary tables of the old generations
        self._projections = renewed
        self._sequences = _sequences(renewed)
        return True

    def release(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that went to another process."""
        for partition in partitions:
            self._held.pop(partition, None)
            self._left.pop(partition, None)

    def holds(self, partition: Partition) -> bool:
        """Whether the partition was claimed and not released."""
        return partition in self._held

    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition that is held, as far as rows are committed; safe from another thread."""
        held = list(self._held.items())
        return {place: min(one.next_offset for one in its) for place, its in held}

    def write(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        """Write a batch, each partition's records in offset order, and move the checkpoints behind them.

        Raises ``Fenced`` when another process took over, ``SequenceGap`` when the record has a hole, and
        ``psycopg.OperationalError`` when told to stop while the database is away; then nothing of the batch is there.
        """
        moves = {
            checkpoint: records[-1].offset + 1
            for partition, records in batch.items()
            for checkpoint in self._held[partition]
            if records and records[-1].offset >= checkpoint.next_offset
        }
        if not moves:
            return
        self._retried(lambda connection, fresh: self._write_once(connection, batch, moves, fresh=fresh))
        for partition, held in self._held.items():
            self._held[partition] = [replace(c, next_offset=moves.get(c, c.next_offset)) for c in held]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write_once(
        self,
        connection: Connection,
        batch: Mapping[Partition, Sequence[Record]],
        moves: Mapping[Checkpoint, int],
        *,
        fresh: bool,
    ) -> None:
        """Write, unless the connection was lost after its server had committed just this batch."""
        if not fresh or not checkpoints.committed(connection, moves):
            self._transact(connection, batch, moves)

    def _transact(
        self, connection: Connection, batch: Mapping[Partition, Sequence[Record]], moves: Mapping[Checkpoint, int]
    ) -> None:
        if self._plans is not None:
            self._plans.batch()
        written: dict[str, int] = {}
        events = [r for (topic, _), records in batch.items() if topic == "incident-events" for r in records]
        with connection.transaction():
            checkpoints.advance(connection, moves)  # first: a fenced process writes nothing at all
            last, repeated = self._sequences.check(connection, events)
            for projection in self._projections:
                records = _due(projection, batch, moves)
                if records:
                    written[projection.name] = projection.apply(connection, records)
            self._sequences.refuse_others(connection, repeated)
        self._sequences.keep(last)
        for name, rows in written.items():
            PROJECTOR_ROWS.labels(name).inc(rows)

    def _retried(self, action: Callable[[Connection, bool], T]) -> T:
        """Do it on a connection that works; the action is told whether that one is new."""

        def attempt() -> T:
            fresh = self._connection is None
            try:
                return action(self._connection or self._open(), fresh)
            except TRANSIENT:
                self.close()
                raise

        result = self._retry(attempt)
        self.problem = ""
        return result

    def _open(self) -> Connection:
        self._connection = connection = self._connect()
        self._plans = Plans(connection)
        for projection in self._projections:
            projection.prepare(connection)
        return connection

    def _say(self, state: tenacity.RetryCallState) -> None:
        error: Any = state.outcome.exception() if state.outcome else None
        self.problem = f"{type(error).__name__}: {error}".strip()
        _LOG.warning("postgresql.retrying", error=self.problem, attempt=state.attempt_number)


def _sequences(projections: Sequence[Projection]) -> TenantSequences:
    return TenantSequences(next(p for p in projections if p.name == _NEEDED).tables[0])


def _explained(partition: Partition, begin: int, stranded: Sequence[Checkpoint]) -> str:
    """Where they stand, and the command that helps, if one does."""
    where = ", ".join(f"{one.projection} g{one.generation} goes on from {one.next_offset}" for one in stranded)
    text = f"{partition[0]}[{partition[1]}] begins at offset {begin} and {where or 'nothing stands before it'}"
    if stranded and {one.projection for one in stranded} <= set(READ_MODELS):
        return f"{text}: run `{rebuild_command(one.projection for one in stranded)}`"
    return text


def rebuild_command(projections: Iterable[str]) -> str:
    """What an operator runs to give these read models rows again."""
    return f"incidents rebuild {' '.join(projections)}"


def _due(
    projection: Projection, batch: Mapping[Partition, Sequence[Record]], moves: Mapping[Checkpoint, int]
) -> list[Record]:
    """The records that lie at or behind the projection's own positions."""
    starts = {
        (checkpoint.topic, checkpoint.partition): checkpoint.next_offset
        for checkpoint in moves
        if (checkpoint.projection, checkpoint.generation) == (projection.name, projection.generation)
    }
    return [
        record
        for partition, records in batch.items()
        if partition in starts
        for record in records
        if record.offset >= starts[partition]
    ]
