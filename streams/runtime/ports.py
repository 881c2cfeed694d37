"""What the runtime and an agent's logic expect of each other: one ``Processor`` a partition, one ``Turn`` a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Protocol

from streams.domain.records import dataclass

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """A record as aiokafka hands it over."""

    @property
    def topic(self) -> str:
        """The topic's full name."""

    @property
    def partition(self) -> int:
        """The partition's number."""

    @property
    def offset(self) -> int:
        """The offset in the partition."""

    @property
    def timestamp(self) -> int:
        """The recorded time in milliseconds."""

    @property
    def key(self) -> bytes | None:
        """The key: the tenant."""

    @property
    def value(self) -> bytes | None:
        """The data."""

    @property
    def headers(self) -> Headers:
        """The CloudEvents attributes."""


@dataclass(frozen=True, slots=True)
class Write:
    """A record to write to a topic (its full name), in the same partition number as the input."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Writes:
    """Everything that a batch writes: outputs, and changed state items by key (a value of none removes the item)."""

    outputs: list[Write] = field(default_factory=list)
    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)


class Turn(Protocol):
    """One batch in the making. Whatever ``take`` raises, the state must be as if the record had not come."""

    def take(self, record: Record) -> None:
        """Decide a record; raises ``InvalidEvent``, ``UnknownSchema`` or, where the code is wrong, anything."""

    def refuse(self, record: Record, reason: str, detail: str) -> None:
        """Dead-letter a record that could not be decided."""

    def finish(self) -> Writes:
        """Everything that the batch writes."""


class Processor(Protocol):
    """An agent's logic for one input partition, with the state in memory."""

    def reset(self) -> None:
        """Forget the state; it is loaded again from the state topic."""

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take an item of the state topic; raises ``UnknownSchema`` for a format that a newer version wrote."""

    def turn(self, first: int, last: int) -> Turn:
        """Begin a batch of the input offsets ``first`` to ``last``."""

    def committed(self) -> None:
        """The batch's writes are durable: what was noted to take them back can go."""

    def parked(self) -> int:
        """How many tenants are parked."""
