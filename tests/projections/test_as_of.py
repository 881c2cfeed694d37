"""As of T: what the queries say is the fold of the events up to T, for random histories and times."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.base import Record, instant
from projections.connections import AsyncPool, Connection
from projections.decoding import jsonb
from projections.incident_rows import IncidentRow
from projections.queries import as_of
from projections.queries.cursors import Cursor
from projections.queries.incidents import IncidentFilter
from projections.queries.tenant import tenant_session
from projections.registry import rebuildable
from streams.codec.plain import from_json
from streams.domain import events
from streams.domain.catalogue import CATALOGUE, TYPE_OF
from streams.domain.errors import InvalidEvent
from streams.domain.incident import Incident, evolve
from tests.projections.histories import T0, History, alert, declared, examples_of, full, ref

_TENANTS = itertools.count()
_EVENTS: tuple[Callable[[int], Any], ...] = (
    lambda n: events.AlertsAttached((alert(f"x{n}", f"k{n % 3}", T0 + n),)),
    lambda n: events.AlertsRepeated((ref(f"r{n}", f"k{n % 3}", T0 + n),)),
    lambda n: events.AlertsResolved((ref(f"e{n}", f"k{n % 3}", T0 + n),)),
    lambda n: events.Acknowledged(f"user:{n}"),
    lambda n: events.Assigned(f"user:{n}", "", "user:ada"),
    lambda n: events.SeverityChanged(f"SEV-{n % 5 + 1}", "SEV-2", "user:ada"),
    lambda n: events.FieldChanged("title", f"title {n}\x00\u2028", "", "user:ada"),
    lambda n: events.NoteAdded(f"note {n}", "user:ada"),
    lambda _: events.StateChange("open", "mitigated", "user:ada"),
    lambda n: events.Resolved("open", "user:ada", due=T0 + n),
    lambda _: events.StateChange("resolved", "open", "user:ada"),
    lambda n: events.EffectFailed(f"i{n}", "pagerduty", "i1", "note", attempts=n, detail="404"),
    lambda n: events.Closed("resolved", "closed", "system:scheduler", due=T0 + n),
)
steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, len(_EVENTS) - 1), st.integers(0, 3)), min_size=1, max_size=25
)


def history_of(chosen: list[tuple[str, int, int]]) -> History:
    """Events of three incidents; recorded times may be equal, and an incident begins when it is first named."""
    history = History(f"tenant-{next(_TENANTS)}")
    begun: dict[str, int] = {}
    at = T0
    for number, (name, kind, later) in enumerate(chosen):
        at += later
        if name not in begun:
            begun[name] = len(begun) + 1
            history.add(f"{history.tenant}-{name}", declared(begun[name]), recordedtime=at)
        history.add(f"{history.tenant}-{name}", _EVENTS[kind](number), recordedtime=at)
    return history


def folded(records: list[Record], at: int) -> dict[str, Incident]:
    """The incidents by the domain's fold of what was recorded by then."""
    found: dict[str, Incident] = {}
    for record in records:
        envelope = record.envelope
        if envelope.recordedtime <= at:
            after = evolve(found.get(envelope.subject), record.data, id_=envelope.subject, at=envelope.recordedtime)
            found[envelope.subject] = after._replace(sequence=envelope.sequence)
    return found


def project(connection: Connection, records: list[Record]) -> None:
    """Write the timeline and the incidents."""
    for name in ("timeline_entries", "incidents"):
        projection = rebuildable(name, 1)
        projection.prepare(connection)
        connection.commit()
        with connection.transaction():
            projection.apply(connection, records)


def same(row: IncidentRow, incident: Incident) -> bool:
    """Whether the row says what the incident is."""
    plain = ("number", "title", "status", "severity", "assignee", "acknowledged_by", "revision", "sequence",
             "alert_count", "repeat_count", "firing_count", "merged_into")  # fmt: skip
    times = ("created_at", "updated_at", "resolved_at", "closed_at", "acknowledged_at", "last_signal_at")
    return all(getattr(row, name) == getattr(incident, name) for name in plain) and all(
        getattr(row, name) == (instant(getattr(incident, name)) if getattr(incident, name) else None) for name in times
    )


@pytest.mark.stack
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(-2, 60))
async def test_as_of_is_the_fold_up_to_then(
    api_pool: AsyncPool, projector: Connection, chosen: list[tuple[str, int, int]], after: int
) -> None:
    history = history_of(chosen)
    project(projector, history.records)
    at = T0 + after
    expected = folded(history.records, at)
    async with tenant_session(api_pool, history.tenant) as connection:
        for name in "abc":
            row = await as_of.get_incident_as_of(connection, f"{history.tenant}-{name}", instant(at))
            incident = expected.get(f"{history.tenant}-{name}")
            assert (row is None) == (incident is None)
            assert row is None or incident is None or same(row, incident)
        for status in ("open", "resolved", "closed"):
            wanted = IncidentFilter(status=(status,))
            page = await as_of.list_incidents_as_of(connection, wanted, instant(at))
            matching = sorted((i for i in expected.values() if i.status == status), key=lambda i: -i.number)
            assert [row.number for row in page.rows] == [one.number for one in matching]
            assert all(same(row, one) for row, one in zip(page.rows, matching, strict=True))
            assert page.go_on == 0


@pytest.mark.stack
async def test_a_merge_that_came_later_is_not_seen_and_one_that_was_is(
    api_pool: AsyncPool, projector: Connection
) -> None:
    records = full(History())
    project(projector, records)
    merged = next(r for r in records if isinstance(r.data, events.Merged) and r.data.role == "source")
    then = instant(merged.envelope.recordedtime)
    async with tenant_session(api_pool, "acme") as connection:
        before = await as_of.get_incident_as_of(connection, "b", then - timedelta(milliseconds=1))
        after = await as_of.get_incident_as_of(connection, "b", then)
        unmerged = await as_of.list_incidents_as_of(connection, IncidentFilter(), then - timedelta(milliseconds=1))
        rest = await as_of.list_incidents_as_of(connection, IncidentFilter(), then)
    assert before is not None
    assert not before.merged_into
    assert after is not None
    assert after.merged_into == "a"
    assert [row.incident_id for row in unmerged.rows] == ["b", "a"]
    assert [row.incident_id for row in rest.rows] == ["a"]


@pytest.mark.stack
@pytest.mark.parametrize("sort", ["newest", "oldest"])
async def test_pages_go_on_where_they_ended(
    api_pool: AsyncPool, projector: Connection, monkeypatch: pytest.MonkeyPatch, sort: Any
) -> None:
    monkeypatch.setattr(as_of, "_CHUNK", 4)
    monkeypatch.setattr(as_of, "MOST_EVENTS", 8)
    history = History("paged")
    for number in range(1, 24):
        history.add(f"p{number}", declared(number))
        if number % 3:
            history.add(f"p{number}", events.Resolved("open", "user:ada"))
    at = history.records[-1].envelope.recordedtime
    for number in range(1, 24):
        history.add(f"p{number}", events.NoteAdded("later", "user:ada"))
    project(projector, history.records)
    seen: list[int] = []
    behind: Cursor | None = None
    pages = 0
    async with tenant_session(api_pool, "paged") as connection:
        while True:
            wanted = IncidentFilter(status=("open",))
            page = await as_of.list_incidents_as_of(connection, wanted, instant(at), behind, 2, sort)
            assert len(page.rows) <= 2
            seen += [row.number for row in page.rows]
            pages += 1
            if not page.go_on:
                break
            behind = Cursor(f"incidents:{sort}", (page.go_on,))
    expected = [number for number in range(1, 24) if number % 3 == 0]
    assert seen == (expected if sort == "oldest" else expected[::-1])
    assert pages > len(expected) // 2


def test_data_as_json_and_back() -> None:
    for spec in CATALOGUE:
        for example in examples_of(spec.type):
            document = _plain(example)
            assert from_json(spec.type, document) == example
            assert from_json(spec.type, {**document, "from_a_newer_version": 1}) == example
    assert {TYPE_OF[type(one)] for spec in CATALOGUE for one in examples_of(spec.type)} == {s.type for s in CATALOGUE}


def test_data_that_is_none_is_refused() -> None:
    for values in ({}, {"alerts": 5}, {"alerts": [7]}):
        with pytest.raises(InvalidEvent):
            from_json("com.incidents.alerts_attached.v1", values)
    with pytest.raises(InvalidEvent):
        from_json("com.example.other", {})


def _plain(data: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(jsonb(data)[1:])
    return found
