"""What a part of the bench returns: figures for the JSON line, and rows for the table."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table."""

    what: str
    value: str
    spread: str = ""
    goal: str = ""


@dataclass(slots=True)
class Found:
    """Figures by name (those of the last line of the bench), rows of the table, and details for the JSON alone."""

    figures: dict[str, float | int | None] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything is measured: ``full`` is 1.0, `QUICK=1` a fifth; ``rounds`` of each measurement."""

    size: float = 1.0
    rounds: int = 3
    largest: int = 1_000_000
    """The most incidents and stored events with which a store is seeded."""

    def of(self, count: int) -> int:
        """So many of something, at least one."""
        return max(1, int(count * self.size))


def load_average() -> float:
    """Of the last minute: how busy others kept the machine."""
    return round(os.getloadavg()[0], 2)
