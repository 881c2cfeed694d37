"""The fast way into a table: COPY to a temporary table, then one statement that moves the rows with ON CONFLICT.

The temporary table is emptied by hand. ``ON COMMIT DELETE ROWS`` has every commit truncate all such tables of the
session, whether they were used or not: with a dozen of them a transaction of 17 events took 12 to 20 ms instead of 7.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Cursor, sql

from projections.connections import Connection

_MOST_DEAD = 2_000
"""Rows that a temporary table, which nothing vacuums, may have held before it is truncated.

Up to there it costs less to delete them while they are moved, a millisecond for each table and truncation.
"""


class Staging:
    """A table's temporary twin, empty between loads, and the statements that go with it.

    ``types`` maps the columns to their PostgreSQL types, in the order of the rows given to ``load``. ``conflict`` is
    what follows ``ON CONFLICT``. Values of ``jsonb`` columns are what ``decoding.jsonb`` returns.
    """

    def __init__(self, table: str, types: dict[str, str], conflict: str = "DO NOTHING") -> None:
        self._types = ["bytea" if type_ == "jsonb" else type_ for type_ in types.values()]
        target = sql.Identifier(*table.split("."))
        stage = sql.Identifier("stage_" + table.replace(".", "_"))
        columns = sql.SQL(", ").join(map(sql.Identifier, types))
        self._create = sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} AS SELECT {} FROM {} WITH NO DATA").format(
            stage, columns, target
        )
        self._append = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, columns)
        self._truncate = sql.SQL("TRUNCATE {}").format(stage)
        self._held = 0
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(stage, columns)
        insert = sql.SQL("INSERT INTO {target} AS t ({columns}) SELECT {columns} FROM {rows} ON CONFLICT {conflict}")
        parts = {"target": target, "columns": columns, "conflict": sql.SQL(conflict)}
        self._insert = insert.format(rows=stage, **parts)
        self._move = sql.SQL("WITH moved AS (DELETE FROM {} RETURNING *) ").format(stage) + insert.format(
            rows=sql.SQL("moved"), **parts
        )

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table for this connection."""
        connection.execute(self._create)

    def load(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write the rows in the open transaction; returns how many the table took.

        Rows come sorted by key, so that two writers cannot deadlock, and without two of the same key where the
        conflict is an update.
        """
        if not rows:
            return 0
        with connection.cursor() as cursor:
            self._write(cursor, self._copy, rows)
            self._held += len(rows)
            full = self._held > _MOST_DEAD
            cursor.execute(self._insert if full else self._move)
            taken = cursor.rowcount
            if full:
                cursor.execute(self._truncate)
                self._held = 0
            return taken

    def append(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """COPY straight into the table rows that cannot be there yet; returns how many."""
        if not rows:
            return 0
        with connection.cursor() as cursor:
            self._write(cursor, self._append, rows)
            return cursor.rowcount

    def _write(self, cursor: Cursor[Any], statement: sql.Composed, rows: Iterable[tuple[Any, ...]]) -> None:
        with cursor.copy(statement) as copy:
            copy.set_types(self._types)
            for row in rows:
                copy.write_row(row)


def excluded(columns: Iterable[str], key_length: int) -> str:
    """The assignments of ``DO UPDATE SET`` that replace every column behind those of the key."""
    return ", ".join(f"{name} = excluded.{name}" for name in tuple(columns)[key_length:])
