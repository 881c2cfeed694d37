"""Reads a tenant's part of the intake in a process of its own: one core decodes while the other decides.

The messages come in their order, a batch at a time. The process is ahead by what the pipe between the two holds, and
then waits. What goes wrong in it is raised here as if it had been read here.
"""

from __future__ import annotations

import copyreg
import fcntl
import io
import multiprocessing
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from operator import attrgetter
from typing import Any, Self

from confluent_kafka import KafkaException

from streams.agents.recorded import INTAKE, Log, Seen, SpanOf, intake, nobody, where
from streams.domain.envelope import Envelope
from streams.domain.errors import IncidentsError
from streams.domain.message import Message
from streams.domain.signals import Signal
from streams.runtime import collector
from streams.runtime.partition_reader import KafkaUnavailable

WORTH = 20_000
"""Fewer records are read sooner than a process has started."""

_AT_ONCE = 200
_AT_MOST = 5_000
"""Records after which the other process says how far it is, however few of them are the tenant's."""
_PIPE_BYTES = 1 << 20
"""Several batches: with the 64 KiB that a pipe has, the two would wait for each other in the middle of each."""
OpenLog = Callable[[], Log]
"""Opens the log in the other process: it must be possible to pickle it."""


class ReaderEnded(IncidentsError):  # noqa: N818
    """The process that read ended before it had read everything."""


@contextmanager
def messages(open_log: OpenLog, log: Log, span: SpanOf, seen: Seen = nobody) -> Iterator[Iterable[Message]]:
    """The tenant's messages as ``intake`` gives them, read by another process where there are many.

    ``log`` is what ``open_log`` gives here. Where another process reads, ``seen`` is told of some records only, of the
    last one always. Raises what ``intake`` raises, an error of the Kafka client as ``KafkaUnavailable``, and
    ``ReaderEnded``.
    """
    number, start = where(log, span, INTAKE)
    if log.end(INTAKE, number) - start < WORTH:
        yield intake(log, span, seen)
        return
    with ReadAhead(open_log, span, seen) as ahead:
        yield ahead


class ReadAhead:
    """The messages of a span, read by a process that ends with the ``with`` statement."""

    def __init__(self, open_log: OpenLog, span: SpanOf, seen: Seen = nobody) -> None:
        self._seen = seen
        context = multiprocessing.get_context("spawn")
        self._pipe, self._theirs = context.Pipe(duplex=False)
        with suppress(OSError, AttributeError):  # only Linux has this, up to a limit; without it all is but slower
            fcntl.fcntl(self._theirs.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._process = context.Process(target=_read, args=(open_log, span, self._theirs), daemon=True)

    def __enter__(self) -> Self:
        with _unheard():
            self._process.start()
        self._theirs.close()  # so that the end of the process is the end of the pipe
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()  # it does not hear SIGTERM, and has nothing to put in order
        self._process.join()
        self._pipe.close()

    def __iter__(self) -> Iterator[Message]:
        while True:
            try:
                found = self._pipe.recv()
            except EOFError as error:
                self._process.join()
                raise ReaderEnded(f"the process that reads ended with {self._process.exitcode}") from error
            if isinstance(found, Exception):
                raise found
            if found is None:
                return
            offset, batch = found
            self._seen(INTAKE, offset)
            yield from batch


@contextmanager
def _unheard() -> Iterator[None]:
    """What is started here never hears what a terminal and a service manager send to both processes, not even at first.

    Blocked signals stay so in a process that is started meanwhile; who starts it hears them a moment later.
    """
    resource_tracker.ensure_running()  # started along with the process, it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read(open_log: OpenLog, span: SpanOf, pipe: Connection) -> None:
    collector.stop()
    try:
        try:
            sending = _Sending(pipe)
            for message in intake(open_log(), span, sending.seen):
                sending.batch.append(message)
            sending.send()
            pipe.send_bytes(pickle.dumps(None))
        except IncidentsError as error:
            pipe.send_bytes(pickle.dumps(error))
        except KafkaException as error:  # which cannot be pickled
            pipe.send_bytes(pickle.dumps(KafkaUnavailable(f"Kafka: {error.args[0].str()}")))
    except BrokenPipeError:
        return  # nobody wants to know any more


class _Sending:
    """Gathers messages and sends them, each time with the offset of the last record that was read."""

    def __init__(self, pipe: Connection) -> None:
        self.batch: list[Message] = []
        self._pipe = pipe
        self._offset = self._unsaid = 0

    def seen(self, _: str, offset: int) -> None:
        """A record is read; its message, if it becomes one, goes with the next."""
        if len(self.batch) >= _AT_ONCE or self._unsaid >= _AT_MOST:
            self.send()
        self._offset = offset
        self._unsaid += 1

    def send(self) -> None:
        """Send what was gathered, if there is anything new."""
        if not self._unsaid:
            return
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = _AS_CALLS
        pickler.dump((self._offset, self.batch))
        self._pipe.send_bytes(buffer.getvalue())
        self.batch.clear()
        self._unsaid = 0


def _by_position(data: type) -> Callable[[Any], tuple[type, tuple[Any, ...]]]:
    get = attrgetter(*(field.name for field in fields(data)))
    return lambda instance: (data, get(instance))


_AS_CALLS: dict[type, Callable[[Any], Any]] = {
    **copyreg.dispatch_table,
    **{data: _by_position(data) for data in (Message, Envelope, Signal)},
}
"""What most messages are made of is written as calls of their classes, which are read in a third of the time."""
