"""Dispositions: the first one stands, but for a dead letter that was replayed."""

from __future__ import annotations

import pytest

from projections.alerts import Alerts
from projections.base import Record
from projections.connections import Connection
from streams.domain import events
from tests.projections.histories import History, alert, declared, ref

pytestmark = pytest.mark.stack

REFUSED = events.IntakeRefused(
    "/pagerduty", "x", "com.incidents.signal.v1", "decision-failed", "", "incident-intake", 0, 1
)


def replayed() -> list[Record]:
    """A signal that was dead-lettered, twice, and then replayed, beside one that was not."""
    history = History()
    history.add("", REFUSED)
    history.add("", REFUSED)
    history.add("a", declared(1))
    history.add("a", events.AlertsAttached((alert("x"), alert("y"))))
    history.add("a", events.AlertsRepeated((ref("y", "y"),)))
    history.add("", REFUSED)
    return history.records


@pytest.mark.parametrize("batches", [1, 2, 6])
def test_a_replayed_dead_letter_ends_in_what_it_should_have_been(projector: Connection, batches: int) -> None:
    records = replayed()
    size = len(records) // batches
    projection = Alerts()
    projection.prepare(projector)
    for start in range(0, len(records), size):
        projection.apply(projector, records[start : start + size])
        projector.commit()
    found = projector.execute(
        "SELECT signal_id, disposition, incident_id FROM read_data.alerts_g1 ORDER BY 1"
    ).fetchall()
    assert found == [("x", "attached", "a"), ("y", "attached", "a")]
