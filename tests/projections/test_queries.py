"""Reads: filters, keyset paging without loss or repetition, cursors that were tampered with, board and counts."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from projections import incident_rows
from projections.base import instant
from projections.connections import AsyncPool, Connection
from projections.incident_rows import IncidentRow
from projections.queries import alerts, board, incidents, timeline
from projections.queries.alerts import AlertFilter
from projections.queries.cursors import BadCursor
from projections.queries.incidents import IncidentFilter, Sort
from projections.queries.tenant import tenant_session
from projections.registry import projections
from streams.domain import events
from streams.domain.incident import evolve
from tests.domain.intake import Intake, signal
from tests.projections.histories import T0, History, alert, declared, full

pytestmark = pytest.mark.stack


def project(projector: Connection, history: History) -> None:
    """Write a history's rows."""
    for projection in projections():
        if projection.topic == "incident-events":
            projection.prepare(projector)
            projector.commit()
            projection.apply(projector, history.records)
            projector.commit()


@pytest.fixture
def many(projector: Connection) -> History:
    """23 incidents of equal and different severities, with alerts recorded at equal and different times."""
    history = History()
    for number in range(1, 24):
        status = "open" if number % 3 else "draft"
        name = f"i{number * 7 % 23:02}"
        history.add(name, declared(number, severity=f"SEV-{1 + number % 3}", status=status, service=f"s{number % 2}"))
        history.add(name, events.AlertsAttached((alert(f"x{number}", at=T0 + number // 4), alert(f"y{number}"))))
    project(projector, history)
    return history


async def pages(fetch: Callable[[Any], Awaitable[Any]], cursor: Callable[[Any], Any]) -> list[Any]:
    """Everything, page by page of four."""
    found: list[Any] = []
    after = None
    while page := await fetch(after):
        assert len(page) <= 4
        found += page
        after = cursor(page[-1])
    return found


@pytest.mark.parametrize("sort", ["newest", "oldest", "severity"])
async def test_pages_of_incidents_miss_none_and_repeat_none(api_pool: AsyncPool, many: History, sort: Sort) -> None:
    async with tenant_session(api_pool, many.tenant) as connection:
        for wanted in (
            IncidentFilter(),
            IncidentFilter(status=("open",)),
            IncidentFilter(service="s1", text="INCIDENT 1"),
        ):
            whole = await incidents.list_incidents(connection, wanted, limit=100, sort=sort)
            paged = await pages(
                lambda after, wanted=wanted: incidents.list_incidents(connection, wanted, after, 4, sort),  # type: ignore[misc]
                lambda row: incidents.parse_cursor(incidents.cursor_after(row, sort).encode(), sort),
            )
            assert paged == whole
            assert whole
    numbers = [row.number for row in whole]
    expected = {
        "newest": sorted(numbers, reverse=True),
        "oldest": sorted(numbers),
        "severity": [r.number for r in sorted(whole, key=lambda r: (r.severity, -r.number))],
    }
    assert numbers == expected[sort]


async def test_pages_of_alerts_miss_none_and_repeat_none(api_pool: AsyncPool, many: History) -> None:
    async with tenant_session(api_pool, many.tenant) as connection:
        whole = await alerts.list_alerts(connection, AlertFilter(), limit=100)
        paged = await pages(
            lambda after: alerts.list_alerts(connection, AlertFilter(), after, 4),
            lambda row: alerts.parse_cursor(alerts.cursor_after(row).encode()),
        )
        assert paged == whole
        assert len({row.signal_id for row in whole}) == 46
        states = await pages(
            lambda after: alerts.incident_alerts(connection, "i07", after, 1),
            lambda row: alerts.parse_state_cursor(alerts.state_cursor_after(row).encode()),
        )
        assert [row.alert_key for row in states] == ["x1", "y1"]


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%%%",
        "\ud800",
        "a" * 5_000,
        encoded({}),
        encoded([]),
        encoded(["incidents:oldest", 4]),
        encoded(["incidents:newest"]),
        encoded(["incidents:newest", "4"]),
        encoded(["incidents:newest", True]),
        encoded(["incidents:newest", 1, 2]),
        encoded(["incidents:newest", 2**63]),
        encoded(["incidents:newest", None]),
        base64.urlsafe_b64encode(b"\xff").decode(),
    ],
)
def test_a_cursor_that_nobody_gave_out_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        incidents.parse_cursor(text, "newest")


def test_a_cursor_with_text_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(BadCursor):
        incidents.parse_cursor(encoded(["incidents:severity", "a\0", 1]), "severity")


async def test_filters(api_pool: AsyncPool, projector: Connection) -> None:
    history = History()
    full(history)
    project(projector, history)

    async def numbers(**wanted: Any) -> list[int]:
        found = await incidents.list_incidents(connection, IncidentFilter(**wanted))
        return [row.number for row in found]

    async with tenant_session(api_pool, "acme") as connection:
        assert await numbers() == [1]
        assert await numbers(include_merged=True) == [2, 1]
        assert await numbers(severity=("SEV-1",), include_merged=True) == [2, 1]
        assert await numbers(status=("open", "resolved")) == []
        assert await numbers(assignee="user:bob") == [1]
        assert await numbers(text="is DOWN") == [1]
        assert await numbers(text="%") == []
        assert await numbers(text="\0") == []
        assert await numbers(service="\ud800") == []
        assert await numbers(status=("\0",)) == []
        assert await numbers(firing=True) == [1]
        assert await numbers(firing=False, include_merged=True) == [2]
        assert await numbers(created_since=datetime(2030, 1, 1, tzinfo=UTC)) == []
        assert await numbers(created_until=instant(T0 + 2_001), updated_since=instant(T0)) == [1]
        for name in ("a", "INC-1", "inc-1", "1"):
            found = await incidents.get_incident(connection, name)
            assert found is not None
            assert found.number == 1
        for name in ("", "INC-0", "INC-3", "0", "9" * 30, "\0", "\ud800", "INC-1 OR true"):
            assert await incidents.get_incident(connection, name) is None


async def test_the_row_is_what_the_domain_folds(api_pool: AsyncPool, projector: Connection) -> None:
    history = History()
    full(history)
    project(projector, history)
    folded: dict[str, Any] = {}
    for record in history.records:
        envelope = record.envelope
        if not isinstance(record.data, events.TenantEvent):
            folded[envelope.subject] = evolve(
                folded.get(envelope.subject), record.data, id_=envelope.subject, at=envelope.recordedtime
            )
    async with tenant_session(api_pool, "acme") as connection:
        for name, incident in folded.items():
            row = await incidents.get_incident(connection, name)
            assert row is not None
            counts = (row.alert_count, row.repeat_count, row.firing_count, row.revision)
            assert counts == (incident.alert_count, incident.repeat_count, incident.firing_count, incident.revision)
            assert (row.status, row.title, row.merged_into) == (incident.status, incident.title, incident.merged_into)
            assert row.resolved_at == (instant(incident.resolved_at) if incident.resolved_at else None)
            states = await alerts.incident_alerts(connection, name)
            assert sum(state.firing for state in states) == (0 if row.merged_into else 1)  # k1 was in both


async def test_what_the_orchestrator_decides_is_what_is_read(api_pool: AsyncPool, projector: Connection) -> None:
    intake = Intake()
    for fingerprint in ("f1", "f2", "f1"):
        intake.send(signal(fingerprint))
    intake.send(signal("f1", status="resolved", at=intake.now + 1))
    intake.send(signal("f9", status="resolved"))
    history = History()
    for offset, recorded in enumerate(intake.recorded):
        attributes = {name: getattr(recorded.envelope, name) for name in ("id", "tenantsequence", "recordedtime")}
        subject = "" if isinstance(recorded.event, events.TenantEvent) else recorded.envelope.subject
        assert history.add(subject, recorded.event, **attributes).offset == offset
    project(projector, history)
    (name,) = intake.declared()
    incident = intake.incident(name)
    async with tenant_session(api_pool, "acme") as connection:
        row = await incidents.get_incident(connection, name)
        assert row is not None
        assert (row.alert_count, row.repeat_count, row.firing_count, row.sequence) == (
            incident.alert_count,
            incident.repeat_count,
            incident.firing_count,
            incident.sequence,
        )
        assert await alerts.disposition_counts(connection) == {"attached": 3, "repeated": 1, "kept_raw": 1}


async def test_every_signal_has_one_disposition_and_merged_alerts_move(
    api_pool: AsyncPool, projector: Connection
) -> None:
    history = History()
    full(history)
    project(projector, history)
    async with tenant_session(api_pool, "acme") as connection:
        counts = await alerts.disposition_counts(connection)
        assert counts == {"attached": 6, "repeated": 1, "kept_raw": 1, "dead_lettered": 2}
        moved = await alerts.list_alerts(connection, AlertFilter(ids=("b1", "b2", "nobody")))
        assert {(row.signal_id, row.incident_id) for row in moved} == {("b1", "a"), ("b2", "a")}
        (refused,) = await alerts.list_alerts(connection, AlertFilter(source="incident-intake"))
        assert (refused.signal_id, refused.reason) == ("0/8", "not-a-cloudevent: ?")
        states = {row.alert_key: row for row in await alerts.incident_alerts(connection, "a")}
        assert {key: state.firing for key, state in states.items()} == {"k1": True, "k2": False, "k9": False}
        assert states["k1"].occurrences == 3


async def test_timeline_and_tenant_stream(api_pool: AsyncPool, projector: Connection) -> None:
    history = History()
    full(history)
    project(projector, history)
    async with tenant_session(api_pool, "acme") as connection:
        rows = await timeline.timeline(connection, "a", after_sequence=2, limit=3)
        assert [row.sequence for row in rows] == [3, 4, 5]
        assert rows[0].data["alerts"][0]["id"] == "a3"
        every = await timeline.tenant_events(connection)
        assert [row.tenantsequence for row in every] == list(range(1, len(history.records) + 1))
        some = await timeline.tenant_events(connection, 3, until=8, incident_id="b")
        assert [row.tenantsequence for row in some] == [4, 5]
        notes = await timeline.tenant_events(connection, types=("com.incidents.note_added.v1",))
        assert [row.data["text"] for row in notes] == ["look at the graph"]
        assert await timeline.last_tenantsequence(connection) == len(history.records)
        assert await timeline.oldest(connection) == 1


async def test_board_and_services(api_pool: AsyncPool, many: History) -> None:
    async with tenant_session(api_pool, many.tenant) as connection:
        columns = (await board.board(connection, per_column_limit=3)).columns
        assert [(column.status, column.count, len(column.cards)) for column in columns] == [
            ("draft", 7, 3),
            ("open", 16, 3),
        ]
        assert [card.severity for card in columns[0].cards] == ["SEV-1"] * 3
        found = await board.services(connection)
        assert {(s.service, s.incidents, s.firing_alerts, s.worst_severity) for s in found} == {
            ("s0", 11, 22, "SEV-1"),
            ("s1", 12, 24, "SEV-1"),
        }


def test_rows_are_read_in_the_order_of_their_columns() -> None:
    assert [field.name for field in fields(IncidentRow)] == list(incident_rows.COLUMNS)
