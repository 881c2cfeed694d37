"""The fast way into a table: COPY to a temporary table, then one INSERT with ON CONFLICT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Cursor, sql

from projections.connections import Connection


class Staging:
    """A table's temporary twin, emptied at each commit, and the statements that go with it.

    ``types`` maps the columns to their PostgreSQL types, in the order of the rows given to ``load``. ``conflict`` is
    what follows ``ON CONFLICT``. Values of ``jsonb`` columns are what ``decoding.jsonb`` returns.
    """

    def __init__(self, table: str, types: dict[str, str], conflict: str = "DO NOTHING") -> None:
        self._types = ["bytea" if type_ == "jsonb" else type_ for type_ in types.values()]
        target = sql.Identifier(*table.split("."))
        stage = sql.Identifier("stage_" + table.replace(".", "_"))
        columns = sql.SQL(", ").join(map(sql.Identifier, types))
        self._create = sql.SQL(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} WITH NO DATA"
        ).format(stage, columns, target)
        self._append = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(target, columns)
        self._clear = sql.SQL("DELETE FROM {}").format(stage)
        self._copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(stage, columns)
        self._insert = sql.SQL("INSERT INTO {target} AS t ({columns}) SELECT {columns} FROM {stage} ").format(
            target=target, columns=columns, stage=stage
        ) + sql.SQL("ON CONFLICT " + conflict)

    def prepare(self, connection: Connection) -> None:
        """Create the temporary table for this connection."""
        connection.execute(self._create)

    def clear(self, connection: Connection) -> None:
        """Empty the temporary table, so that ``load`` can be called again in the same transaction."""
        connection.execute(self._clear)

    def load(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write the rows in the open transaction, once in each (or after ``clear``); returns how many the table took.

        Rows come sorted by key, so that two writers cannot deadlock, and without two of the same key where the
        conflict is an update.
        """
        if not rows:
            return 0
        with connection.cursor() as cursor:
            self._write(cursor, self._copy, rows)
            cursor.execute(self._insert)
            return cursor.rowcount

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
