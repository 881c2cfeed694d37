"""WHERE clauses put together from fixed fragments, with every value as a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import sql


class Conditions:
    """Fragments joined by AND; each holds as many ``%s`` as it is given values.

    A value that PostgreSQL cannot hold equals nothing: with one, nothing is found.
    """

    def __init__(self) -> None:
        self._fragments: list[sql.Composable] = []
        self._values: list[Any] = []
        self._impossible = False

    @property
    def values(self) -> list[Any]:
        """The parameters, in the order of their places."""
        return [] if self._impossible else self._values

    def add(self, fragment: LiteralString, *values: Any) -> None:
        """Require the fragment."""
        self._require(sql.SQL(fragment), *values)

    def equal(self, **columns: str) -> None:
        """Require each column (a name from the code, never from a request) to hold its value, where one is given."""
        for name, value in columns.items():
            if value:
                self._require(sql.SQL("{} = %s").format(sql.Identifier(name)), value)

    def one_of(self, **columns: Sequence[str]) -> None:
        """Require each column to hold one of its values, where any are given.

        A single value is compared with ``=``: behind an array no index gives rows in its order.
        """
        for name, values in columns.items():
            if len(values) == 1:
                self._require(sql.SQL("{} = %s").format(sql.Identifier(name)), values[0])
            elif values:
                possible = [value for value in values if storable(value)]
                self._require(sql.SQL("{} = ANY(%s)").format(sql.Identifier(name)), possible)

    def where(self) -> sql.Composable:
        """The clause, with a leading space; empty without conditions."""
        if self._impossible:
            return sql.SQL(" WHERE false")
        if not self._fragments:
            return sql.SQL("")
        return sql.SQL(" WHERE ") + sql.SQL(" AND ").join(self._fragments)

    def _require(self, fragment: sql.Composable, *values: Any) -> None:
        self._fragments.append(fragment)
        self._values.extend(values)
        self._impossible = self._impossible or not all(storable(value) for value in values if isinstance(value, str))


def storable(text: str) -> bool:
    """Whether PostgreSQL can hold the text: neither NUL nor lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def containing(text: str) -> str:
    """A LIKE pattern for texts that contain this one, its own wildcards taken literally."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
