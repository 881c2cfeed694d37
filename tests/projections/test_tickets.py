"""Tickets and conflicts as rows: they are what the fold makes, whatever the batches, and erasing changes both alike."""

from __future__ import annotations

import pytest

from projections import erasing, generations
from projections.base import Record
from projections.connections import AsyncPool, Connection
from projections.queries import tickets as queries
from projections.queries.cursors import BadCursor
from projections.queries.tenant import tenant_session
from projections.queries.tickets import ConflictFilter, TicketFilter
from projections.ticket_rows import to_ticket
from projections.tickets import Tickets
from streams.domain import ticket_events as said
from streams.domain.erasing import Erasing
from streams.domain.ticket_history import tickets
from tests.projections.histories import History, declared
from tests.projections.test_registry import apply, dump

pytestmark = pytest.mark.stack

INTEGRATION = "i2"


def link(number: int) -> tuple[str, str, str]:
    return f"ticket-{number}", "servicenow", INTEGRATION if number % 2 else "i3"


def conflict(number: int, id_: str, result: said.ConflictResult = "waiting", by: str = "") -> said.ConflictDetected:
    return said.ConflictDetected(
        id_, *link(number), f"s{number}", "severity", "urgency", "both_changed", "bidirectional", "manual", 3, result,
        "SEV-1", "3", updated_by=by,
    )  # fmt: skip


def linked(number: int) -> said.TicketLinked:
    return said.TicketLinked(*link(number), "created", f"s{number}", f"INC{number}", f"https://t.example/{number}")


def checked(number: int, *drifted: str) -> said.SyncCompleted:
    id_, connector, integration = link(number)
    return said.SyncCompleted(id_, "intent", connector, integration, "ticket_read", 3, version=number, drifted=drifted)


def agreed(number: int) -> said.ProviderAck:
    synced = said.SyncedField("title", "short_description", "down", "down", "agreed")
    return said.ProviderAck(*link(number), f"s{number}", 3, 2, "", (synced,))


def some(history: History) -> list[Record]:
    """Six tickets: 1 waits, 2 was decided, 3 drifted, 4 is gone, 5 failed, 6 is in step."""
    for number in range(1, 7):
        history.add(f"a{number}", declared(number))
        if number != 5:
            history.add(f"a{number}", linked(number))
            history.add(f"a{number}", agreed(number))
    history.add("a1", conflict(1, "c1", by="grace@example.com"))
    history.add("a2", conflict(2, "c2"))
    history.add("a2", said.ConflictResolved("c2", *link(2), "severity", "urgency", "ours", "SEV-1", "user:ada"))
    history.add("a3", checked(3, "short_description"))
    history.add("a4", said.TicketUnlinked(*link(4), "gone", "s4"))
    id_, connector, integration = link(5)
    history.add("a5", said.SyncFailed(id_, "i", connector, integration, "ticket_create", "refused", 5, detail="403"))
    return history.records


@pytest.fixture
def rows(projector: Connection) -> list[Record]:
    """The tickets of two tenants, projected; the records of the first."""
    records = some(History())
    apply(projector, Tickets(), records, some(History("globex")))
    return records


async def test_rows_are_what_the_fold_makes(rows: list[Record], api_pool: AsyncPool) -> None:
    expected = tickets((record.envelope, record.data) for record in rows)
    async with tenant_session(api_pool, "acme") as connection:
        found = await queries.list_tickets(connection, TicketFilter())
        conflicts = await queries.list_conflicts(connection, ConflictFilter())
    assert {row.ticket_id: to_ticket(row) for row in found} == expected.tickets
    assert [row.number for row in found] == [6, 4, 3, 2, 1, 5] or [row.number for row in found] == [0] * 6
    assert {row.conflict_id: (row.ended, row.incident_id) for row in conflicts} == {
        "c1": ("", "a1"),
        "c2": ("ours", "a2"),
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (TicketFilter(apart=True), {"ticket-1", "ticket-3"}),
        (TicketFilter(in_step=True), {"ticket-2", "ticket-6"}),
        (TicketFilter(state=("failed", "gone")), {"ticket-4", "ticket-5"}),
        (TicketFilter(integration_id=INTEGRATION), {"ticket-1", "ticket-3", "ticket-5"}),
        (TicketFilter(incident_id="a6"), {"ticket-6"}),
        (TicketFilter(connector="jira"), set()),
        (TicketFilter(incident_id="a\0"), set()),
    ],
)
async def test_tickets_are_filtered(
    rows: list[Record], api_pool: AsyncPool, wanted: TicketFilter, found: set[str]
) -> None:
    del rows
    async with tenant_session(api_pool, "acme") as connection:
        assert {row.ticket_id for row in await queries.list_tickets(connection, wanted)} == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ConflictFilter(state="open"), ["c1"]),
        (ConflictFilter(state="waiting", integration_id=INTEGRATION), ["c1"]),
        (ConflictFilter(state="ended"), ["c2"]),
        (ConflictFilter(incident_id="a2"), ["c2"]),
        (ConflictFilter(ticket_id="ticket-1", field="severity", policy="manual"), ["c1"]),
        (ConflictFilter(field="title"), []),
    ],
)
async def test_conflicts_are_filtered(
    rows: list[Record], api_pool: AsyncPool, wanted: ConflictFilter, found: list[str]
) -> None:
    del rows
    async with tenant_session(api_pool, "acme") as connection:
        assert [row.conflict_id for row in await queries.list_conflicts(connection, wanted)] == found


async def test_pages_lose_and_repeat_nothing(rows: list[Record], api_pool: AsyncPool) -> None:
    del rows
    async with tenant_session(api_pool, "acme") as connection:
        whole = [row.ticket_id for row in await queries.list_tickets(connection, TicketFilter())]
        paged: list[str] = []
        after = None
        while page := await queries.list_tickets(connection, TicketFilter(), after, 2):
            paged += [row.ticket_id for row in page]
            after = queries.ticket_cursor_after(page[-1])
        assert paged == whole
        newest, oldest = await queries.list_conflicts(connection, ConflictFilter())
        behind = queries.conflict_cursor_after(newest)
        assert await queries.list_conflicts(connection, ConflictFilter(), behind) == [oldest]
        with pytest.raises(BadCursor):
            await queries.list_tickets(connection, TicketFilter(), behind)


async def test_the_summary_counts_what_is_not_as_it_should_be(rows: list[Record], api_pool: AsyncPool) -> None:
    del rows
    async with tenant_session(api_pool, "acme") as connection:
        assert await queries.summary(connection) == queries.SyncSummary(1, 1, 1, 2, 1, 1)
    async with tenant_session(api_pool, "initech") as connection:
        assert await queries.summary(connection) == queries.SyncSummary(0, 0, 0, 0, 0, 0)


def test_erased_rows_are_those_of_the_erased_record(
    rows: list[Record], owner: Connection, projector: Connection
) -> None:
    who = Erasing("grace@example.com", "person-1")
    done = erasing.erase(owner, "acme", who, [])
    assert done.changed == {"read_data.ticket_conflicts_g1": 1}
    projector.commit()
    generations.create(owner, Tickets(), Tickets(2))
    left = [Record(one.topic, one.partition, one.offset, one.envelope, who.value(one.data), one.json) for one in rows]
    apply(projector, Tickets(2), left)
    found = dump(owner)
    for name in ("tickets", "ticket_conflicts"):
        first, second = ([row for row in found[f"read_data.{name}_g{n}"] if "acme" in row] for n in (1, 2))
        assert first == second
