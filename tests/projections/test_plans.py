"""Statements that were planned for a small table are planned anew once there were twice as many batches."""

from __future__ import annotations

import pytest

from projections.connections import Connection, Plans

pytestmark = pytest.mark.stack


def plan(connection: Connection) -> str:
    return "\n".join(row[0] for row in connection.execute(b"EXPLAIN EXECUTE look ('7')").fetchall())


def test_a_plan_for_a_small_table_does_not_stay(projector: Connection) -> None:
    for statement in (
        b"SET plan_cache_mode = force_generic_plan",  # as a statement that was executed often has
        b"CREATE TEMPORARY TABLE grown (name text PRIMARY KEY)",  # nothing analyzes a temporary one meanwhile
        b"INSERT INTO grown VALUES ('1')",
        b"ANALYZE grown",
        b"PREPARE look AS SELECT * FROM grown WHERE name = $1",
    ):
        projector.execute(statement)
    plans = Plans(projector)
    plans.batch()
    plans.batch()
    assert "Seq Scan" in plan(projector)
    projector.execute(b"INSERT INTO grown SELECT n::text FROM generate_series(2, 20000) AS n")
    plans.batch()
    assert "Seq Scan" in plan(projector), "the third batch has no new plans: the test would show nothing"
    plans.batch()
    assert "Index" in plan(projector)
    projector.rollback()
