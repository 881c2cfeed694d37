"""Rows arrive as they are, by JSON and by COPY, and the temporary table is empty after every load and rollback."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from projections import staging
from projections.connections import Connection
from projections.decoding import jsonb
from projections.staging import Staging, excluded
from projections.timeline import Timeline
from tests.projections.histories import History, full

pytestmark = pytest.mark.stack

STAGE = b"SELECT count(*) FROM stage_read_data_timeline_entries_g1"
TARGET = b"SELECT count(*) FROM read_data.timeline_entries_g1"


def counted(connection: Connection, query: bytes) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("most", [0, 1_000_000], ids=["truncated", "deleted"])
def test_loads_leave_nothing_behind(projector: Connection, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(staging, "_FEW", 0)
    monkeypatch.setattr(staging, "_MOST_DEAD", most)
    records = full(History())
    timeline = Timeline()
    timeline.prepare(projector)
    projector.commit()
    half = len(records) // 2
    assert timeline.apply(projector, records[:half]) == half
    assert timeline.apply(projector, records[half:]) == len(records) - half  # in the same transaction
    projector.commit()
    assert timeline.apply(projector, records) == 0  # all of them are there
    assert (counted(projector, STAGE), counted(projector, TARGET)) == (0, len(records))
    projector.rollback()
    assert timeline.apply(projector, records[:1]) == 0
    assert counted(projector, STAGE) == 0


TYPES = {
    "name": "text",
    "count": "int8",
    "part": "int4",
    "firing": "bool",
    "at": "timestamptz",
    "ended": "timestamptz",
    "data": "jsonb",
}
AT = datetime(2026, 3, 1, 12, 30, 15, 123000, UTC)
ROWS = [
    ("a", 2**63 - 1, -(2**31), True, AT, None, jsonb({"n": 2**53 + 1, "deep": [{"quote": '"\\'}], "none": None})),
    ("b \t\n\\ ' \" \u2028 \U0001f525 {}", -1, 0, False, datetime(1, 1, 1, tzinfo=UTC), AT, jsonb({})),
    ("c", 0, 1, True, datetime(9999, 12, 31, 23, 59, 59, 999000, UTC), AT, jsonb([["x", "y"], []])),
]


@pytest.mark.parametrize("few", [0, 50], ids=["copied", "json"])
def test_every_kind_of_value_arrives_and_replaces(
    projector: Connection, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(staging, "_FEW", few)
    columns = b", ".join(f"{name} {type_}".encode() for name, type_ in TYPES.items())
    projector.execute(b"CREATE TEMPORARY TABLE kinds (" + columns + b", PRIMARY KEY (name))")
    loading = Staging("kinds", TYPES, f"(name) DO UPDATE SET {excluded(TYPES, 1)}")
    loading.prepare(projector)
    assert loading.load(projector, ROWS) == len(ROWS)
    assert loading.load(projector, [("c", 7, *ROWS[2][2:])]) == 1
    found = projector.execute('SELECT * FROM kinds ORDER BY name COLLATE "C"', binary=True).fetchall()
    values = [({"n": 2**53 + 1, "deep": [{"quote": '"\\'}], "none": None}), {}, [["x", "y"], []]]
    wanted = [(*row[:-1], value) for row, value in zip(ROWS, values, strict=True)]
    assert found == [*wanted[:2], ("c", 7, *wanted[2][2:])]
    projector.rollback()
