"""Checksums of tables: the same whatever the order of the rows, others for any other row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from projections.connections import Connection
from projections.digests import Table, differences, differing

pytestmark = pytest.mark.stack

ROWS = 20_000
"""About five in each bucket."""
_CREATE = "CREATE TEMPORARY TABLE {table} (id int8 PRIMARY KEY, title text, labels jsonb, topic_offset int8)"
_INSERT = """
INSERT INTO {table} SELECT n, 't' || n, jsonb_build_object('n', n), random() * 1000000
FROM generate_series(1, {rows}) n ORDER BY n {order}
"""
_EXCHANGE = """
UPDATE other SET {column} = one.{column} FROM one WHERE (other.id, one.id) IN ((%(one)s, %(two)s), (%(two)s, %(one)s))
"""


@pytest.fixture
def tables(projector: Connection) -> Iterator[tuple[Table, Table]]:
    """Two tables of the same rows, which were written in opposite orders."""
    for name, order in (("one", "ASC"), ("other", "DESC")):
        parts = {"table": sql.Identifier(name), "rows": sql.Literal(ROWS), "order": sql.SQL(order)}
        for statement in (_CREATE, _INSERT):
            projector.execute(sql.SQL(statement).format(**parts))
    yield Table(projector, "pg_temp.one"), Table(projector, "pg_temp.other")
    projector.rollback()


def test_the_order_of_rows_and_their_offsets_are_no_part_of_it(
    projector: Connection, tables: tuple[Table, Table]
) -> None:
    one, other = (table.digest(projector) for table in tables)
    assert sum(count for count, _ in one.values()) == ROWS
    assert not differing(one, other)


@pytest.mark.parametrize("column", ["title", "labels"])
def test_values_that_two_rows_of_a_bucket_exchange_are_noticed(
    projector: Connection, tables: tuple[Table, Table], column: str
) -> None:
    """A sum of hashes in which each column has a part of its own would stay what it is."""
    one, other = tables
    before = one.digest(projector)
    bucket = min(number for number, (count, _) in before.items() if count > 1)
    first, second, *_ = (int(key.strip("[]")) for key in one.hashes(projector, [bucket]))
    exchange = sql.SQL(_EXCHANGE).format(column=sql.Identifier(column))
    projector.execute(exchange, {"one": first, "two": second})
    assert differing(before, other.digest(projector)) == [bucket]
    found = differences((projector, one), (projector, other), [bucket])
    assert (found.missing, found.added, found.changed) == (0, 0, 2)
    assert {difference.key for difference in found.sample} == {(first,), (second,)}


def test_nothing_is_another_value_than_an_empty_one(projector: Connection, tables: tuple[Table, Table]) -> None:
    one, other = tables
    projector.execute("UPDATE one SET title = '' WHERE id = 7")
    projector.execute("UPDATE other SET title = NULL WHERE id = 7")
    [bucket] = differing(one.digest(projector), other.digest(projector))
    found = differences((projector, one), (projector, other), [bucket])
    assert found.sample[0].columns == {"title": ("", None)}
