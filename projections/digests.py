"""Checksums of a table that do not depend on the order of its rows, and where two tables differ.

Each row's key falls into one of 4,096 buckets; a bucket's checksum is the count of its rows and the sum of their 64-bit
hashes. Equal tables have equal buckets; only buckets that differ are read to find the rows. Values are equal that
PostgreSQL holds to be, 1 and 1.0 in a JSON document too. Kafka offsets are left out (R6): a restored log has others.
This finds accidents; against forgery there is the hash chain (R11).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson
from psycopg import sql

from projections.connections import Connection

BUCKETS = 4_096
_PROVENANCE = ("topic_partition", "topic_offset")
_READ_BUCKETS = 64
"""How many of the buckets that differ are read row by row."""

_COLUMNS = """
SELECT a.attname, a.attnum = ANY (x.indkey::int2[]) FROM pg_attribute a
JOIN pg_index x ON x.indrelid = a.attrelid AND x.indisprimary
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
# A record's hash is a linear combination of those of its columns, in which two rows could exchange values unseen: it is
# hashed once more. Made from the record it takes less than half of what its text takes.
_HASH = "hashtextextended(hash_record_extended(ROW({all}), 0)::text, 0)"
_BUCKET = "hash_record_extended(ROW({key}), 1) & {mask}"
_DIGEST = """
SELECT bucket, count(*), sum(hash::numeric)
FROM (SELECT {bucket} AS bucket, {hash} AS hash FROM {table}) rows GROUP BY bucket
"""
_HASHES = "SELECT jsonb_build_array({key}), {hash} FROM {table} WHERE ({bucket}) = ANY (%s)"
Buckets = Mapping[int, tuple[int, Decimal]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same in both tables: its key, and each column's two values (None: no such row)."""

    key: tuple[Any, ...]
    columns: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Differences:
    """How many rows differ; ``complete`` says whether all of them were counted or a part of the table only."""

    missing: int
    added: int
    changed: int
    complete: bool
    sample: tuple[Difference, ...]


class Table:
    """A table with its columns; ``name`` is schema and table."""

    def __init__(self, connection: Connection, name: str) -> None:
        found = connection.execute(_COLUMNS, [name]).fetchall()
        self.key = tuple(column for column, in_key in found if in_key)
        columns = [column for column, _ in found if column not in _PROVENANCE]
        key = _joined(self.key)
        self._parts = {
            "key": key,
            "hash": sql.SQL(_HASH).format(all=_joined(columns)),
            "bucket": sql.SQL(_BUCKET).format(key=key, mask=sql.Literal(BUCKETS - 1)),
            "table": sql.Identifier(*name.split(".")),
        }

    def digest(self, connection: Connection) -> Buckets:
        """Its rows by bucket: how many, and the sum of their hashes."""
        query = sql.SQL(_DIGEST).format(**self._parts)
        # PostgreSQL cannot know that there are few buckets: it would sort all rows by theirs, on the disk.
        connection.execute("SET enable_sort = off")
        found = connection.execute(query).fetchall()
        connection.execute("RESET enable_sort")
        return {bucket: (count, total) for bucket, count, total in found}

    def hashes(self, connection: Connection, buckets: Sequence[int]) -> dict[str, int]:
        """The hash of each row of the buckets, by key (as JSON)."""
        query = sql.SQL(_HASHES).format(**self._parts)
        found = connection.execute(query, [list(buckets)]).fetchall()
        return {orjson.dumps(key).decode(): row_hash for key, row_hash in found}

    def row(self, connection: Connection, key: str) -> dict[str, Any]:
        """The row with this key (as ``hashes`` gives it) without Kafka's positions; empty when there is none."""
        condition = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in self.key)
        query = sql.SQL("SELECT to_jsonb(t) - %s::text[] FROM {} t WHERE ").format(self._parts["table"]) + condition
        found = connection.execute(query, [list(_PROVENANCE), *orjson.loads(key)]).fetchone()
        return dict(found[0]) if found else {}


def total(buckets: Buckets) -> str:
    """One short text for the whole table, equal for equal tables."""
    parts = ",".join(f"{bucket}:{count}:{hashed}" for bucket, (count, hashed) in sorted(buckets.items()))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def differing(one: Buckets, other: Buckets) -> list[int]:
    """The buckets that are not the same."""
    return sorted(bucket for bucket in one.keys() | other.keys() if one.get(bucket) != other.get(bucket))


def differences(
    live: tuple[Connection, Table], new: tuple[Connection, Table], buckets: Sequence[int], sample: int = 10
) -> Differences:
    """What differs in the buckets, of which at most 64 are read; each table is read on its own connection.

    ``missing`` rows are only in the live table, ``added`` ones only in the new one.
    """
    chosen = list(buckets[:_READ_BUCKETS])
    there, here = live[1].hashes(live[0], chosen), new[1].hashes(new[0], chosen)
    keys = sorted(key for key in there.keys() | here.keys() if there.get(key) != here.get(key))
    found = []
    for key in keys[:sample]:
        old, rebuilt = live[1].row(live[0], key), new[1].row(new[0], key)
        columns = {
            name: (old.get(name), rebuilt.get(name))
            for name in old.keys() | rebuilt.keys()
            if old.get(name) != rebuilt.get(name)
        }
        found.append(Difference(tuple(orjson.loads(key)), dict(sorted(columns.items()))))
    return Differences(
        missing=sum(key not in here for key in keys),
        added=sum(key not in there for key in keys),
        changed=sum(key in here and key in there for key in keys),
        complete=len(buckets) <= _READ_BUCKETS,
        sample=tuple(found),
    )


def _joined(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
