"""What a projection is: a pure fold of records to rows, and the writing of those rows in the runner's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import groupby
from typing import Any, Protocol

from projections.connections import Connection
from streams.domain.catalogue import Topic
from streams.domain.envelope import Envelope
from streams.domain.errors import IncidentsError
from streams.domain.records import dataclass

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999
_LONGEST_INDEXED = 300
"""Characters: three columns of four-byte characters must fit into a B-tree entry (2,704 bytes)."""


class SequenceGap(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """A sequence of the record is broken (R5): going on would show a history with a hole in it."""


class LogBeginsLater(IncidentsError):  # noqa: N818
    """The log no longer (or not yet) holds the offset to go on from, and nothing else does: rows would be missing."""


@dataclass(frozen=True, slots=True)
class Record:
    """One decoded record of a topic; ``json`` is its data as ``decoding.jsonb`` returns it."""

    topic: Topic
    partition: int
    offset: int
    envelope: Envelope
    data: Any
    json: bytes


class Projection(Protocol):
    """One read model (or one part of ``ops``) that follows one topic.

    ``tables`` are the only ones it writes, with their schema. ``whole_log`` says that it must begin at offset 0; else
    it begins where the log does. A change of what rows mean is a new ``generation``.
    """

    @property
    def name(self) -> str:
        """Name in the checkpoints."""

    @property
    def generation(self) -> int:
        """Generation of its tables."""

    @property
    def topic(self) -> Topic:
        """The topic it follows."""

    @property
    def whole_log(self) -> bool:
        """Whether a missing beginning of the log is an error."""

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it writes."""

    def prepare(self, connection: Connection) -> None:
        """Create its temporary tables, once for each connection."""

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Write the rows of the records in the open transaction; returns how many were staged.

        Applying records again changes nothing.
        """


class Rebuildable(Projection, Protocol):
    """A read model: it has generations, and can be filled from the beginning of the log.

    ``early`` names what filling needs of the tables' indexes: their primary keys, or single ones without the table's
    name (``incident`` for ``alerts_g1_incident``); without a key the rows are only ever appended.
    """

    @property
    def early(self) -> tuple[str, ...]:
        """The indexes that the tables need while they are being filled; ``pkey`` is the primary key."""

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """As ``apply``, for records that no row of the tables comes from yet, while nobody else writes them.

        An instance may remember what it wrote: after a transaction that was rolled back a new one must go on.
        """

    def unify(self, connection: Connection) -> None:
        """Leave of rows with the same key the one that ``apply`` would have kept: for tables filled without keys."""


@lru_cache(maxsize=65_536)  # each is asked for by several tables of the same batch
def instant(milliseconds: int) -> datetime:
    """The instant as PostgreSQL stores it; what lies outside the years 1 to 9999 is moved to their end."""
    if not _FIRST_MS <= milliseconds <= _LAST_MS:
        milliseconds = _FIRST_MS if milliseconds < 0 else _LAST_MS
    return _EPOCH + timedelta(milliseconds=milliseconds)


def instant_or_none(milliseconds: int) -> datetime | None:
    """The instant, or None for 0, which means absent in the record."""
    return instant(milliseconds) if milliseconds else None


def milliseconds(at: datetime | None) -> int:
    """The instant in milliseconds since the epoch, 0 for None: the inverse of ``instant_or_none``."""
    return (at - _EPOCH) // timedelta(milliseconds=1) if at else 0


def bounded(text: str) -> str:
    """The text as an indexed column holds it: one longer than 300 characters is cut and ended with its digest.

    A B-tree entry has a largest size, and a record that does not fit must not stop the projection.
    """
    if len(text) <= _LONGEST_INDEXED:
        return text
    digest = sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[: _LONGEST_INDEXED - len(digest) - 1]}~{digest}"


def by_position(records: Sequence[Record]) -> Iterator[tuple[tuple[Topic, int], list[Record]]]:
    """Records by topic and partition, each group in offset order."""

    def position(record: Record) -> tuple[Topic, int]:
        return record.topic, record.partition

    for key, group in groupby(sorted(records, key=position), key=position):
        yield key, list(group)
