"""A read model's live and rebuilt generation side by side: digests of all of its tables, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from projections import digests, generations
from projections.base import Rebuildable
from projections.connections import Connection
from projections.digests import Differences, Table


@dataclass(frozen=True, slots=True)
class Compared:
    """A read model's old and new generation, their digests (of all of its tables) and what differs, by view."""

    projection: str
    live: int
    new: int
    rows: int
    live_digest: str
    new_digest: str
    differences: Mapping[str, Differences] = field(default_factory=dict)


def compared(live: Rebuildable, new: Rebuildable, snapshot: Connection, connection: Connection) -> Compared:
    """Digests of both and the rows that differ, as the two connections see them."""
    found: dict[str, Differences] = {}
    totals: list[tuple[str, str]] = []
    rows = 0
    for old, rebuilt in zip(live.tables, new.tables, strict=True):
        tables = Table(snapshot, old), Table(connection, rebuilt)
        here, there = tables[0].digest(snapshot), tables[1].digest(connection)
        totals.append((digests.total(here), digests.total(there)))
        rows += sum(count for count, _ in there.values())
        buckets = digests.differing(here, there)
        if buckets:
            view = generations.view_name(old)
            found[view] = digests.differences((snapshot, tables[0]), (connection, tables[1]), buckets)
    old_digest, new_digest = ("+".join(part) for part in zip(*totals, strict=True))
    return Compared(live.name, live.generation, new.generation, rows, old_digest, new_digest, found)
