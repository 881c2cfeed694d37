"""Rebuild: the next generation of read models beside the one that readers see, then a swap that they do not notice.

Fill from offset 0 (`filling`), index, compare with the live generation at equal offsets (`digests`), and swap in one
short transaction (`swapping`). Every step may be killed: the next run goes on where the tables stand (design 6).
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

import psycopg

from projections import comparing, filling, generations
from projections.base import LogBeginsLater, Rebuildable
from projections.checkpoints import active
from projections.comparing import Compared
from projections.connections import Connection, connect
from projections.filling import Held, Task
from projections.generations import Generation
from projections.registry import READ_MODELS, rebuildable
from projections.sources import Reading, Source
from projections.swapping import Pairs, live_positions, swap
from streams.domain.errors import IncidentsError
from streams.runtime import collector
from streams.runtime.settings import DatabaseSettings

_LOCK = 0x72656275
"""Advisory lock of this database: one rebuild at a time."""
_SPARE = 1.3
"""Of the live tables' size, with what building indexes needs meanwhile."""
_POSITION = """
INSERT INTO ops.projection_checkpoints (projection, generation, topic, partition, next_offset, epoch)
SELECT %s, %s, %s, number, 0, 0 FROM unnest(%s::int[]) AS number ON CONFLICT DO NOTHING
"""
_FURTHEST = "SELECT coalesce(max(next_offset), 0) FROM ops.projection_checkpoints WHERE topic = %s AND partition = %s"
_LEAST_BYTES = 16 * 2**20
_LOOK_S = 0.5


class AnotherRebuild(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """Another rebuild works on this database."""


class TooLittleSpace(IncidentsError):  # noqa: N818
    """The next generation would not fit; nothing was begun."""


class NoSuchGeneration(IncidentsError):  # noqa: N818
    """There is no earlier generation to go back to, or no read model of that name."""


class Progress(Protocol):
    """Is told what happens; ``total`` is 0 where it is not known."""

    def phase(self, what: str, total: int = 0) -> None:
        """Something new begins; ``total`` in log offsets."""

    def at(self, done: int) -> None:
        """How much of the phase is done."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One read model to rebuild; ``resumed`` says that the new generation was begun before."""

    live: Rebuildable
    new: Rebuildable
    resumed: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rebuild will do: ``ends`` are the offsets, by partition, up to which it fills before it compares.

    ``stranded`` are partitions of the log that begin after the position of the live generations: a new read model's,
    or one whose log was trimmed before it. The projector cannot go on with these, so the next generation goes to where
    it can, and is not compared with them.
    """

    models: tuple[Planned, ...]
    ends: Mapping[int, int]
    left: int
    bytes_needed: int
    bytes_free: int | None
    stranded: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What a rebuild did; ``seconds`` and ``events`` are those of filling.

    ``not_compared`` names the read models whose live generation could not go on (`Plan`).
    """

    compared: tuple[Compared, ...]
    swapped: bool
    events: int
    seconds: float
    dropped: tuple[str, ...]
    not_compared: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether every digest was compared and is the same."""
        return not self.not_compared and not any(one.differences for one in self.compared)


@contextmanager
def alone(database: DatabaseSettings) -> Iterator[Connection]:
    """The owner's connection, while nobody else rebuilds; raises ``AnotherRebuild``."""
    with connect(database, "owner", name="rebuild", autocommit=True) as owner:
        row = owner.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if row != (True,):
            raise AnotherRebuild("another rebuild is at work on this database")
        yield owner


def plan(owner: Connection, source: Source, names: Sequence[str] = (), *, free: int | None = None) -> Plan:
    """What rebuilding these read models (all: none named) means; changes nothing.

    ``free`` overrides what the database's disk says. Raises ``NoSuchGeneration`` and ``LogBeginsLater``.
    """
    unknown = [name for name in names if name not in READ_MODELS]
    if unknown:
        raise NoSuchGeneration(f"{', '.join(unknown)}: the read models are {', '.join(READ_MODELS)}")
    there = generations.listed(owner)
    models = tuple(_planned(owner, name, there) for name in READ_MODELS if name in names or not names)
    ends = live_positions(owner, [one.live for one in models], source.topic)
    stored = filling.positions(owner, [one.new for one in models], source.topic)
    with source.open() as reading:
        stranded = {n: span.begin for n, span in reading.live_spans().items() if span.begin > ends.get(n, 0)}
        ends |= {number: max(begin, _furthest(owner, source.topic, number)) for number, begin in stranded.items()}
        starts = {number: min(at.get(number, 0) for at in stored.values()) for number in ends}
        for number, span in reading.spans().items():
            if span.begin > starts.get(number, 0) and span.begin != 0 and ends.get(number, 0) > starts.get(number, 0):
                raise LogBeginsLater(
                    f"partition {number} of {source.topic} begins at offset {span.begin}, {starts.get(number, 0)} is"
                    " needed, and there is no archive to read it from"
                )
    needed = sum(int(one.bytes * _SPARE) for one in models if not one.resumed)
    left = sum(end - starts[number] for number, end in ends.items())
    needed = needed and max(needed, _LEAST_BYTES)
    return Plan(models, ends, left, needed, free if free is not None else _free(owner), tuple(sorted(stranded)))


def _furthest(owner: Connection, topic: str, partition: int) -> int:
    """How far any projection has come: it is committed up to there."""
    row = owner.execute(_FURTHEST, (topic, partition)).fetchone()
    return int(row[0]) if row else 0


def _planned(owner: Connection, name: str, there: Sequence[Generation]) -> Planned:
    mine = [one for one in there if one.projection == name]
    live = active(owner)[name]
    begun = next((one.number for one in mine if one.state in {"filling", "built"}), 0)
    number = begun or max(one.number for one in mine) + 1
    size = next(one.bytes for one in mine if one.number == live)
    return Planned(rebuildable(name, live), rebuildable(name, number), bool(begun), size)


def _free(owner: Connection) -> int | None:
    """Bytes free where the database lies, if that is this machine and the role may know where; else None."""
    host = owner.info.host
    if host and not host.startswith("/"):
        try:
            local = host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            local = False
        if not local:
            return None
    try:
        row = owner.execute("SELECT current_setting('data_directory')").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    folder = Path(row[0]) if row else Path()
    try:
        return shutil.disk_usage(folder).free if row and folder.exists() else None
    except PermissionError:
        return None


class Rebuild:
    """One run; ``owner`` comes from ``alone``."""

    def __init__(
        self, owner: Connection, source: Source, database: DatabaseSettings, progress: Progress, *, jobs: int = 0
    ) -> None:
        self._owner = owner
        self._source = source
        self._database = database
        self._progress = progress
        self._jobs = jobs or min(os.cpu_count() or 1, 8)

    def run(self, wanted: Plan, *, keep: int = 1, force: bool = False, swapping: bool = True) -> Report:
        """Fill, index, compare and swap; where digests differ, nothing is swapped unless ``force``.

        A live generation that is stranded (`Plan`) is replaced without being compared. Raises ``TooLittleSpace`` before
        anything is begun, ``LogBeginsLater``, ``UnreadableRecord``, ``SequenceGap``, ``Fenced``, and
        ``swapping.SwapBlocked``; whatever was filled stays, and the next run goes on from there.
        """
        if wanted.bytes_free is not None and wanted.bytes_needed > wanted.bytes_free:
            raise TooLittleSpace(
                f"about {wanted.bytes_needed:,} bytes are needed and {wanted.bytes_free:,} are free: nothing was begun"
            )
        began = time.perf_counter()
        self._claim_live([one.live for one in wanted.models])
        self._fill(wanted)
        seconds = time.perf_counter() - began
        for one in wanted.models:
            self._progress.phase(f"indexing {one.new.name}")
            generations.finish(self._owner, one.live, one.new)
        pairs = [(one.live, one.new) for one in wanted.models]
        with self._following(pairs) as (held, connection):
            compared = () if wanted.stranded else self._compare(pairs, held, connection)
            alone = tuple(one.live.name for one in wanted.models) if wanted.stranded else ()
            if not swapping or (any(one.differences for one in compared) and not force):
                return Report(compared, False, wanted.left, seconds, (), alone)
            self._swap(pairs, held)
        dropped = tuple(self._drop_old([one for one, _ in pairs], keep))
        return Report(compared, True, wanted.left, seconds, dropped, alone)

    def compare(self, wanted: Plan) -> Report:
        """Whether the live rows agree with the log: as ``run``, but the new generation is dropped in the end.

        Raises ``AnotherRebuild`` where one was begun that is to be gone on with, and ``LogBeginsLater`` where the live
        generation cannot be compared.
        """
        if any(one.resumed for one in wanted.models):
            raise AnotherRebuild("a rebuild was begun and has not ended: finish it first, or begin it again")
        if wanted.stranded:
            names = ", ".join(one.live.name for one in wanted.models)
            raise LogBeginsLater(f"{names}: the live rows stand before the log's beginning: rebuild them")
        report = self.run(wanted, swapping=False)
        for one in wanted.models:
            generations.drop(self._owner, one.new)
        return report

    def roll_back(self, name: str, to: int = 0) -> tuple[int, int]:
        """Show an earlier generation again, once it has caught up; returns the numbers of the old and the new one.

        Raises ``NoSuchGeneration``, and what ``run`` does.
        """
        retired = [
            one.number for one in generations.listed(self._owner) if one.projection == name and one.state == "retired"
        ]
        live = active(self._owner).get(name, 0)
        number = to or max((one for one in retired if one < live), default=0)
        if number not in retired:
            raise NoSuchGeneration(f"{name} has no generation to go back to; retired are {retired or 'none'}")
        pair = (rebuildable(name, live), rebuildable(name, number))
        self._claim_live([pair[0]])
        with self._following([pair]) as (held, _):
            self._swap([pair], held)
        return live, number

    def discard(self, wanted: Plan) -> None:
        """Drop what an earlier run began, so that the next plan starts afresh."""
        for one in wanted.models:
            if one.resumed:
                generations.drop(self._owner, one.new)

    def _claim_live(self, live: Sequence[Rebuildable]) -> None:
        """Give the live generation a position on every partition: what has one can be locked and fenced."""
        with self._source.open() as reading:
            partitions = list(reading.spans())
        for one in live:
            self._owner.execute(_POSITION, (one.name, one.generation, self._source.topic, partitions))

    def _fill(self, wanted: Plan) -> None:
        for one in wanted.models:
            if not one.resumed:
                generations.create(self._owner, one.live, one.new)
        names = tuple((one.new.name, one.new.generation) for one in wanted.models)
        tasks = [
            Task(self._source, self._database, names, number, end)
            for number, end in sorted(wanted.ends.items(), key=lambda item: -item[1])
            if end
        ]
        self._progress.phase("filling", wanted.left)
        if not tasks:
            return
        context = multiprocessing.get_context("spawn")
        jobs = min(self._jobs, len(tasks))
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_worker) as pool:
            try:
                self._watch([pool.submit(filling.fill, task) for task in tasks], wanted)
            except BaseException:
                for child in multiprocessing.active_children():
                    child.terminate()
                raise

    def _watch(self, running: Sequence[Future[int]], wanted: Plan) -> None:
        total = sum(wanted.ends.values())
        left: set[Future[int]] = set(running)
        while left:
            done, left = wait(left, timeout=_LOOK_S, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            stored = filling.positions(self._owner, [one.new for one in wanted.models], self._source.topic)
            now = sum(min(at.get(number, 0) for at in stored.values()) for number in wanted.ends)
            self._progress.at(max(0, wanted.left - (total - now)))

    @contextmanager
    def _following(self, pairs: Pairs) -> Iterator[tuple[_Following, Connection]]:
        new = [one for _, one in pairs]
        partitions = list(live_positions(self._owner, [one for one, _ in pairs], self._source.topic))
        with (
            connect(self._database, "projector", name="rebuild", autocommit=True) as connection,
            self._source.open() as reading,
        ):
            for one in new:
                one.prepare(connection)
            held = Held(connection, new, self._source, partitions)
            yield _Following(held, reading), connection

    def _compare(self, pairs: Pairs, held: _Following, connection: Connection) -> tuple[Compared, ...]:
        """Digests of both generations at the same offsets: the live one as of one moment, the new one caught up."""
        with connect(self._database, "projector", name="rebuild-compare") as snapshot:
            snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot.execute("SET LOCAL statement_timeout = 0")
            snapshot.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # while the new one catches up
            connection.execute("SET statement_timeout = 0")
            ends = live_positions(snapshot, [live for live, _ in pairs], self._source.topic)
            self._progress.phase("catching up")
            held.until(ends)
            self._progress.phase("comparing")
            return tuple(comparing.compared(live, new, snapshot, connection) for live, new in pairs)

    def _swap(self, pairs: Pairs, held: _Following) -> None:
        self._progress.phase("swapping")
        swap(self._owner, pairs, self._source.topic, held.until)

    def _drop_old(self, live: Sequence[Rebuildable], keep: int) -> Iterator[str]:
        for one in live:
            mine = [g for g in generations.listed(self._owner) if g.projection == one.name and g.state == "retired"]
            for old in sorted(mine, key=lambda g: -g.number)[keep:]:
                generations.drop(self._owner, rebuildable(old.projection, old.number))
                yield f"{old.projection} g{old.number}"


class _Following:
    """A generation that is brought up to what the live one shows."""

    def __init__(self, held: Held, reading: Reading) -> None:
        self._held = held
        self._reading = reading

    def until(self, ends: Mapping[int, int]) -> None:
        """Write everything before these offsets."""
        self._held.take(self._reading, ends, filling.apply_one)


def _worker() -> None:
    """Of a process that fills: the one that started it hears Ctrl-C, and takes it along however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    collector.stop()
    filling.end_with_parent()
