"""What a rebuild could do at best here: its parts, each alone on all cores, one process for each partition.

What the libraries take of it (the client fetches, fastavro decodes), COPY of rows that are ready, and everything of a
rebuild but fetching and decoding.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from threading import Barrier
from typing import NamedTuple

from psycopg import sql

from projections import checkpoints, filling, generations
from projections.connections import Connection, connect
from projections.filling import Task
from projections.registry import READ_MODELS, rebuildable
from projections.sources import BATCH, KafkaSource
from streams.codec import avro
from streams.runtime import collector
from streams.runtime.log_reader import LogReader
from streams.runtime.settings import DatabaseSettings

_READY, _MEMORY = 98, 99
"""Generations that nobody will read."""

_PIECE = 1 << 16
_TENANTS = "SELECT DISTINCT tenant_id FROM {} WHERE topic_partition = %s"
_ROWS = "COPY (SELECT * FROM {} WHERE tenant_id = ANY ({})) TO STDOUT {}"
_BINARY = sql.SQL("(FORMAT BINARY)")


class Work(NamedTuple):
    """What a process did: events, and when it began and ended."""

    events: int
    began: float
    ended: float


def measure(
    owner: Connection, source: KafkaSource, database: DatabaseSettings, ends: Mapping[int, int]
) -> dict[str, int]:
    """Events a second: ``read_eps``, ``ready_eps`` and ``copy_eps``; the live generations hold the log up to ``ends``.

    Reading and COPY keep the cores busy, each of them: ``parts_eps`` is what both carry one after the other, as much as
    a rebuild by these libraries reaches whose own code takes no time.
    """
    tasks = _tasks(owner, source, database, ends, _READY)
    read = _speed(read_alone, tasks)
    ready = _speed(copy_ready, tasks)
    copied = _speed(from_memory, _tasks(owner, source, database, ends, _MEMORY))
    return {
        "read_eps": round(read),
        "ready_eps": round(ready),
        "parts_eps": round(1 / (1 / read + 1 / ready)),
        "copy_eps": round(copied),
    }


def read_alone(start: Barrier, task: Task) -> Work:
    """Fetch the partition and have each record's data read by fastavro, by the schema that its headers name."""
    assert isinstance(task.source, KafkaSource)
    with LogReader(task.source.settings, task.source.topic) as reader:
        reader.spans()  # connected
        start.wait(120)
        began, count = time.monotonic(), 0
        for messages in reader.read({task.partition: 0}, {task.partition: task.until}, BATCH):
            for message in messages:
                headers = dict(message.headers())
                avro.read(headers["ce_type"].decode(), headers["ce_dataschema"].decode(), message.value())
            count += len(messages)
        return Work(count, began, time.monotonic())


def copy_ready(start: Barrier, task: Task) -> Work:
    """COPY the partition's rows, as the live generation has them, into the empty one."""
    with connect(task.database, "projector", name="bench", autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        tables = list(_tables(connection, task))
        found = connection.execute(sql.SQL(_TENANTS).format(tables[0][0]), [task.partition])
        tenants = [name for (name,) in found]
        rows = [list(_rows(connection, live, tenants)) for live, _ in tables]
        start.wait(120)
        began = time.monotonic()
        for (_, new), pieces in zip(tables, rows, strict=True):
            into = sql.SQL("COPY {} FROM STDIN {}").format(new, _BINARY)
            with connection.cursor() as cursor, cursor.copy(into) as copy:
                for piece in pieces:
                    copy.write(piece)
        return Work(task.until, began, time.monotonic())


def _tables(connection: Connection, task: Task) -> Iterator[tuple[sql.Identifier, sql.Identifier]]:
    """The tables that readers see and those to be filled; the timeline's come first."""
    serving = checkpoints.active(connection)
    for name, number in task.generations:
        both = rebuildable(name, serving[name]).tables, rebuildable(name, number).tables
        for live, new in zip(*both, strict=True):
            yield sql.Identifier(*live.split(".")), sql.Identifier(*new.split("."))


def _rows(connection: Connection, table: sql.Identifier, tenants: list[str]) -> Iterator[bytes]:
    """The rows of the tenants in the format of COPY, in pieces as a client sends them."""
    query = sql.SQL(_ROWS).format(table, sql.Literal(tenants), _BINARY)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        held = bytearray()
        for row in copy:
            held += row
            if len(held) >= _PIECE:
                yield bytes(held)
                held.clear()
        yield bytes(held)


def from_memory(start: Barrier, task: Task) -> Work:
    """Decode the whole partition, then write it as a rebuild does."""
    with task.source.open() as reading:
        batches = list(reading.read({task.partition: 0}, {task.partition: task.until}))
    projections = [rebuildable(*one) for one in task.generations]
    with connect(task.database, "projector", name="bench", autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        for projection in projections:
            projection.prepare(connection)
        start.wait(120)
        began = time.monotonic()
        for records in batches:
            with connection.transaction():
                for projection in projections:
                    projection.fill(connection, records)
        return Work(sum(map(len, batches)), began, time.monotonic())


def _tasks(
    owner: Connection, source: KafkaSource, database: DatabaseSettings, ends: Mapping[int, int], number: int
) -> list[Task]:
    """Fill new, empty generations of this number."""
    serving = checkpoints.active(owner)
    for name in READ_MODELS:
        generations.create(owner, rebuildable(name, serving[name]), rebuildable(name, number))
    names = tuple((name, number) for name in READ_MODELS)
    return [Task(source, database, names, partition, end) for partition, end in ends.items()]


def _speed(work: Callable[[Barrier, Task], Work], tasks: list[Task]) -> float:
    """Events a second, from the moment at which all are ready to the end of the last."""
    context = multiprocessing.get_context("spawn")
    with (
        context.Manager() as manager,  # whose barrier can be handed to a process that runs already
        ProcessPoolExecutor(len(tasks), mp_context=context, initializer=_worker) as pool,
    ):
        done = list(pool.map(partial(work, manager.Barrier(len(tasks))), tasks))
    return sum(one.events for one in done) / (max(one.ended for one in done) - min(one.began for one in done))


def _worker() -> None:
    collector.stop()
    filling.end_with_parent()
