"""Where a fake keeps what it knows: JSON documents and counters in SQLite, there again after a kill."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, body TEXT NOT NULL, UNIQUE (kind, id))",
    "CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL)",
)


class Store:
    """Documents by kind and id, in the order in which they were first put; without a file, in memory alone."""

    def __init__(self, file: Path | None = None) -> None:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        for statement in _SCHEMA:
            self._db.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def put(self, kind: str, id_: str, document: dict[str, Any]) -> None:
        """Keep a document, in place of the one that has its id."""
        self._db.execute(
            "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body",
            (kind, id_, json.dumps(document)),
        )

    def get(self, kind: str, id_: str) -> dict[str, Any] | None:
        """The document, or ``None``."""
        row = self._db.execute("SELECT body FROM documents WHERE kind = ? AND id = ?", (kind, id_)).fetchone()
        return json.loads(row[0]) if row else None

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every document of a kind."""
        rows = self._db.execute("SELECT body FROM documents WHERE kind = ? ORDER BY rowid", (kind,))
        return [json.loads(body) for (body,) in rows]

    def delete(self, kind: str, id_: str) -> None:
        """Forget a document."""
        self._db.execute("DELETE FROM documents WHERE kind = ? AND id = ?", (kind, id_))

    def count(self, name: str) -> int:
        """Add one to a counter; what it is then."""
        row = self._db.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = n + 1 RETURNING n", (name,)
        ).fetchone()
        return int(row[0])

    def counts(self, prefix: str) -> dict[str, int]:
        """The counters whose names begin so, by the rest of their names."""
        rows = self._db.execute("SELECT name, n FROM counters WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
        return {name[len(prefix) :]: n for name, n in rows}

    def close(self) -> None:
        """Close the file."""
        self._db.close()
