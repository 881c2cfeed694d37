"""What a dead letter is, and how it and what became of it stand in the dead-letter topic (R9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

State = Literal["waiting", "replayed", "dropped"]

PREFIX = "dlq_"
"""How every header begins that is added to a dead letter."""

REPLAYED = f"{PREFIX}replay"
"""The header of an intake record that was a dead letter: the letter's place."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a letter lies in the dead-letter topic; written ``<partition>:<offset>``."""

    partition: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its written form; raises ``ValueError`` for anything else."""
        partition, _, offset = text.partition(":")
        if not (partition.isdecimal() and offset.isdecimal()):
            raise ValueError(f"{text!r} is not PARTITION:OFFSET, as in 0:17")
        return cls(int(partition), int(offset))

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Original:
    """A record as it is written to the intake; ``key`` is the tenant."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Mark:
    """What was done with a letter, when (milliseconds) and by whom."""

    state: State
    at: int = 0
    actor: str = ""


WAITING = Mark("waiting")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter; ``original`` has no value where the letter is a mere reference to its source record."""

    place: Place
    at: int
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    original: Original = field(repr=False)
    mark: Mark = WAITING

    @property
    def tenant(self) -> str:
        """The tenant, by the key."""
        return (self.original.key or b"").decode(errors="replace")

    def header(self, name: str) -> str:
        """A header of the original, empty where it has none."""
        return next((value.decode(errors="replace") for key, value in self.original.headers if key == name), "")


def read_original(record: Any) -> Original:
    """What stands in a Kafka record, without what was added when it was dead-lettered."""
    kept = tuple((name, value or b"") for name, value in record.headers() or () if not name.startswith(PREFIX))
    return Original(record.key(), record.value(), kept)


def read_mark(record: Any) -> tuple[Place, Mark] | None:
    """What became of which letter; ``None`` for a record that is a letter itself."""
    added = _added(record)
    if "state" not in added or record.value() is not None:
        return None
    state: State = "dropped" if added["state"] == "dropped" else "replayed"
    return Place.parse(added["ref"]), Mark(state, int(added["at"]), added["actor"])


def read_letter(record: Any, marks: Mapping[Place, Mark]) -> DeadLetter:
    """The letter in a record of the dead-letter topic."""
    added = _added(record)
    place = Place(record.partition(), record.offset())
    return DeadLetter(
        place=place,
        at=record.timestamp()[1],
        reason=added["reason"],
        detail=added["detail"],
        topic=added["topic"],
        partition=int(added["partition"]),
        offset=int(added["offset"]),
        original=read_original(record),
        mark=marks.get(place, WAITING),
    )


def mark_headers(place: Place, mark: Mark) -> list[tuple[str, bytes]]:
    """The headers of the record that says what became of a letter."""
    values = {"state": mark.state, "ref": str(place), "at": str(mark.at), "actor": mark.actor}
    return [(PREFIX + name, value.encode()) for name, value in values.items()]


def _added(record: Any) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): (value or b"").decode(errors="replace")
        for name, value in record.headers() or ()
        if name.startswith(PREFIX)
    }
