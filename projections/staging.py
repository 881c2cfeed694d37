"""The fast ways into a table: few rows as one JSON parameter, more by COPY, straight or through a temporary table.

Few rows cost what their round trips cost: COPY takes three of them and one for the statement that moves the rows with
ON CONFLICT, JSON takes one. The temporary table is emptied by hand: ``ON COMMIT DELETE ROWS`` has every commit truncate
all such tables of the session, whether they were used or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from psycopg import Cursor, sql

from projections.connections import Connection

_FEW = 50
"""Rows that are cheaper as JSON."""

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
        self._names = tuple(types)
        self._types = ["bytea" if type_ == "jsonb" else type_ for type_ in types.values()]
        self._json = [place for place, type_ in enumerate(types.values()) if type_ == "jsonb"]
        self._held = 0
        target = sql.Identifier(*table.split("."))
        stage = sql.Identifier("stage_" + table.replace(".", "_"))
        columns = sql.SQL(", ").join(map(sql.Identifier, types))
        typed = sql.SQL(", ".join(f"{name} {type_}" for name, type_ in types.items()))
        insert = sql.SQL("INSERT INTO {target} AS t ({columns}) SELECT {columns} FROM {rows} ON CONFLICT {conflict}")
        create = sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} AS SELECT {} FROM {} WITH NO DATA")
        copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
        moved = sql.SQL("WITH moved AS (DELETE FROM {} RETURNING *) ").format(stage)
        few = sql.SQL("json_to_recordset(%s::json) AS few ({})").format(typed)

        def inserting(rows: sql.Composable) -> sql.Composed:
            return insert.format(target=target, columns=columns, rows=rows, conflict=sql.SQL(conflict))

        self._create = create.format(stage, columns, target).as_bytes()  # once: it takes long to put them together
        self._append = copy.format(target, columns).as_bytes()
        self._copy = copy.format(stage, columns).as_bytes()
        self._truncate = sql.SQL("TRUNCATE {}").format(stage).as_bytes()
        self._insert = inserting(stage).as_bytes()
        self._move = (moved + inserting(sql.SQL("moved"))).as_bytes()
        self._few = inserting(few).as_bytes()

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
        if len(rows) <= _FEW:
            return connection.execute(self._few, (self._document(rows),)).rowcount
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

    def _document(self, rows: Iterable[tuple[Any, ...]]) -> str:
        """The rows as JSON objects; what is JSON already, behind its version byte, is not read again."""
        objects = []
        for row in rows:
            values = dict(zip(self._names, row, strict=True))
            for place in self._json:
                values[self._names[place]] = orjson.Fragment(row[place][1:])
            objects.append(values)
        return orjson.dumps(objects).decode()

    def _write(self, cursor: Cursor[Any], statement: bytes, rows: Iterable[tuple[Any, ...]]) -> None:
        with cursor.copy(statement) as copy:
            copy.set_types(self._types)
            for row in rows:
                copy.write_row(row)


def excluded(columns: Iterable[str], key_length: int) -> str:
    """The assignments of ``DO UPDATE SET`` that replace every column behind those of the key."""
    return ", ".join(f"{name} = excluded.{name}" for name in tuple(columns)[key_length:])
