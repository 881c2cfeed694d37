"""The temporary table is empty after every load, however many rows it held before, and after a rollback."""

from __future__ import annotations

import pytest

from projections import staging
from projections.connections import Connection
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
