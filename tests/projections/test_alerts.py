"""Dispositions: the first one stands, but for a dead letter that was replayed."""

from __future__ import annotations

import pytest

from projections import generations
from projections.alerts import Alerts
from projections.base import Record
from projections.connections import Connection
from projections.digests import Table, total
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


@pytest.mark.parametrize("batches", [1, 3])
def test_of_dead_letters_of_one_signal_the_first_stands_however_they_are_batched(
    projector: Connection, batches: int
) -> None:
    history = History()
    first, *others = [history.add("", REFUSED) for _ in range(3)]
    projection = Alerts()
    projection.prepare(projector)
    size = 3 // batches
    for start in range(0, 3, size):
        projection.apply(projector, [first, *others][start : start + size])
        projector.commit()
    assert projector.execute("SELECT event_id FROM read_data.alerts_g1").fetchall() == [(first.envelope.id,)]


def test_filling_without_a_key_ends_in_the_same_rows(owner: Connection, projector: Connection) -> None:
    history = History()
    history.records.extend(replayed())
    history.add("a", events.AlertsAttached((alert("z"),)))
    history.add("b", declared(2))
    history.add("b", events.Merged("target", "a", "user:ada"))
    history.add("a", events.Merged("source", "b", "user:ada"))
    history.add("b", events.AlertsAttached((alert("z", service="search"),)))  # a delivery whose id was forgotten
    records = history.records
    live, new = Alerts(1), Alerts(2)
    generations.create(owner, live, new)
    for one in (live, new):
        one.prepare(projector)
    for part in (records[:4], records[4:]):
        live.apply(projector, part)
        new.fill(projector, part)
        projector.commit()
    twice = projector.execute("SELECT count(*) FROM read_data.alerts_g2").fetchone()
    projector.commit()
    generations.finish(owner, live, new)
    rows = projector.execute("SELECT signal_id, disposition, incident_id, service FROM read_data.alerts_g2 ORDER BY 1")
    assert rows.fetchall() == [
        ("x", "attached", "b", "checkout"),
        ("y", "attached", "b", "checkout"),
        ("z", "attached", "b", "checkout"),
    ]
    assert twice != (3,), "there was something to unify"
    digests = {total(Table(projector, f"read_data.alerts_g{number}").digest(projector)) for number in (1, 2)}
    assert len(digests) == 1
