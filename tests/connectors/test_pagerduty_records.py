"""PagerDuty's incidents as linked records: webhooks, and the REST API against the running fake."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from connectors.kit.contract import Delivery, Secret
from connectors.kit.http import ProviderHttp
from connectors.kit.markers import marker
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.ticket_attempt import TicketAttempt, TicketReport
from connectors.kit.tickets import Cursor, Page
from connectors.pagerduty import RECORDS
from connectors.pagerduty.config import check_records
from connectors.pagerduty.inbound import PagerDutyReceives
from connectors.pagerduty.record_inbound import PagerDutyRecordReceives
from connectors.pagerduty.records import PagerDutyRecords
from infra.fakes.pagerduty import deliveries
from infra.fakes.pagerduty.app import FakeApi
from infra.fakes.pagerduty.state import API_USER, PERSON, FakeAccount
from streams.domain.outputs import Intent
from streams.domain.signals import ProviderIngested, Signal
from streams.domain.tickets import TicketObserved, TicketRequest
from tests.connectors.examples import AT, AT_MS, integration
from tests.connectors.ticket_system import MARKER, TOKEN, Linked, ticket
from tests.fakes.clock import Clock
from tests.harness.serving import serving

OURS = deliveries.PagerDutyIncident("PREC001", "Checkout fails", "checkout", AT, 7, "P2", incident_key=MARKER)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def account(clock: Clock) -> FakeAccount:
    return FakeAccount(auto_create=False, clock=clock)


@pytest.fixture
async def system(account: FakeAccount) -> AsyncIterator[Linked]:
    http = ProviderHttp(allow_loopback=True, timeout_s=5.0)
    try:
        async with serving(FakeApi(account, TOKEN, "oncall@example.com").app()) as served:
            config = {"api_url": served.url, "service_id": "PSERVICE", "user_id": API_USER}
            config["from_email"] = "oncall@example.com"
            link = integration("pagerduty_records", config, Secret("api_token", TOKEN))
            yield Linked(PagerDutyRecords(), http, link, served, account.summary)
    finally:
        await http.close()


def parsed(event_type: str, incident: deliveries.PagerDutyIncident = OURS, **more: str) -> tuple[Any, Any]:
    body, headers = deliveries.webhook(
        event_type, incident, event_id="01E", occurred_at=AT, secrets=["s"], agent="Ada", **more
    )
    link = integration("pagerduty_records")
    [message] = PagerDutyRecordReceives().parse(link, Delivery(body, headers), orjson.loads(body))
    return message


def test_an_event_is_a_reason_to_read_the_incident() -> None:
    envelope, seen = parsed("incident.resolved")
    assert isinstance(seen, TicketObserved)
    assert (envelope.id, seen.external_id, seen.external_key, seen.marker) == ("01E", "PREC001", "#7", MARKER)
    assert (seen.version, seen.updated_at, seen.updated_by) == (0, AT_MS, "Ada")
    assert seen.fields == {"title": "Checkout fails", "status": "resolved", "urgency": "high", "priority": "P2"}


def test_a_note_comes_in_unless_it_is_ours() -> None:
    _, note = parsed("incident.annotated", note="Rolled back")
    assert isinstance(note, ProviderIngested)
    assert (note.action, note.external_id, note.actor, note.text) == (
        "note",
        "PREC001",
        "pagerduty_records:Ada",
        "Rolled back",
    )
    _, echo = parsed("incident.annotated", note=f"ours\n\n{marker('intent-1')}")
    assert echo.action == "none"


@pytest.mark.parametrize(
    ("document", "kind", "problem"),
    [
        ({"event": {"id": "1", "event_type": "pagey.ping", "data": {"type": "ping"}}}, "pagey.ping", ""),
        ({"event": {"event_type": "service.updated", "data": {"type": "service"}}}, "service.updated", ""),
        (
            {"event": {"event_type": "incident.escalated", "data": {"type": "incident"}}},
            "pagerduty_records.unknown",
            "incident.escalated without an incident id",
        ),
        ({"event": []}, "pagerduty_records.unknown", "no event with an event_type"),
        ([], "pagerduty_records.unknown", "no event with an event_type"),
    ],
)
def test_what_is_no_incident_is_kept_raw(document: Any, kind: str, problem: str) -> None:
    link, body = integration("pagerduty_records"), orjson.dumps(document)
    [(_, kept)] = PagerDutyRecordReceives().parse(link, Delivery(body, {}), document)
    assert isinstance(kept, ProviderIngested)
    assert (kept.provider_type, kept.problem, kept.raw) == (kind, problem, body)


def test_an_incident_that_we_made_there_is_no_alert() -> None:
    """Both kinds of integration on one account: what we made must not come back as another incident."""
    for incident, kind in ((OURS, ProviderIngested), (deliveries.PagerDutyIncident("P1", "x", "s", AT), Signal)):
        body, headers = deliveries.webhook(
            "incident.triggered", incident, event_id="01E", occurred_at=AT, secrets=["s"]
        )
        [(_, data)] = PagerDutyReceives().parse(integration("pagerduty"), Delivery(body, headers), orjson.loads(body))
        assert isinstance(data, kind)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        ({"service_id": "PSERVICE"}, ""),
        ({}, "service_id"),
        ({"service_id": "a/b"}, "service_id"),
        ({"service_id": "P", "api_url": "https://pagerduty.example.com"}, "host must be one of"),
        ({"service_id": "P", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any], wrong: str) -> None:
    assert wrong in check_records(config)
    assert bool(check_records(config)) == bool(wrong)
    assert RECORDS.check_config(config) == check_records(config)


async def test_an_incident_is_made_once_by_its_key(system: Linked, account: FakeAccount) -> None:
    await system.served.post("/_faults", {"kind": "drop_after"})
    lost = await system.tickets.create(system.http, system.link, MARKER, {"title": "Disk full"})
    assert isinstance(lost, TransientFailure)
    made = await system.create(title="Disk full", urgency="low", priority="P2", status="triggered")
    assert (made.external_id, made.external_key, made.marker) == ("PINC000001", "#1", MARKER)
    assert account.effects["created"] == 1
    found = await system.tickets.find(system.http, system.link, MARKER)
    assert found == [made]
    assert await system.tickets.find(system.http, system.link, "inc-other-int_1") == []
    other = await system.create("inc-other-int_1", title="y", urgency="low", priority="P2")
    assert other.fields == {"title": "y", "status": "triggered", "urgency": "low", "priority": "P2"}


async def test_writes_set_fields_and_status_and_take_what_is_so_for_done(system: Linked, clock: Clock) -> None:
    made = await system.create(title="x")
    clock.now += 1
    done = await system.write(made.external_id, title="y", urgency="low", priority="P1", status="resolved")
    assert done.fields == {"title": "y", "status": "resolved", "urgency": "low", "priority": "P1"}
    assert done.version > made.version
    assert await system.write(made.external_id, status="resolved") == done
    again = await system.write(made.external_id, status="resolved", title="z", priority="")
    assert (again.fields["title"], again.fields["status"], again.fields["priority"]) == ("z", "resolved", "")
    reopened = await system.write(made.external_id, status="triggered")
    assert reopened.fields["status"] == "resolved"  # PagerDuty opens nothing again: the engine sees that it differs
    for changes, why in (
        ({"priority": "P9"}, "no priority 'P9'; there are P1, P2, P3"),
        ({"urgency": "asleep"}, "HTTP 400: Invalid Input Provided"),
        ({"colour": "red"}, "not among the followed fields: colour"),
    ):
        refused = await system.tickets.write(system.http, system.link, made.external_id, changes)
        assert isinstance(refused, PermanentFailure)
        assert why in refused.reason


async def test_log_entries_tell_who_changed_the_status(system: Linked, clock: Clock, account: FakeAccount) -> None:
    made = await system.create(title="x")
    clock.now += 1
    account.set_status(made.external_id, "acknowledged", PERSON)
    clock.now += 1
    await system.write(made.external_id, status="resolved")
    found = await system.tickets.history(system.http, system.link, made.external_id, made.version)
    assert isinstance(found, list)
    assert [(one.after, one.ours) for one in found] == [("acknowledged", False), ("resolved", True)]


async def test_a_change_of_others_that_slipped_in_is_told(
    system: Linked, account: FakeAccount, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await system.create(title="x")
    clock.now += 1
    read = system.tickets.read

    async def read_then_changed(*given: Any) -> Any:
        found = await read(*given)
        account.set_status(made.external_id, "acknowledged", PERSON)
        clock.now += 1
        return found

    monkeypatch.setattr(system.tickets, "read", read_then_changed)
    request = TicketRequest(MARKER, {"status": "resolved"}, {"status": "triggered"}, made.version)
    intent = Intent(
        "i", "a", "pagerduty_records", "int_1", "ticket_update", made.external_id, "i", "e", 0,
        payload=request.payload(),
    )  # fmt: skip
    report = await TicketAttempt(system.tickets, system.http, system.link, intent, 1).make()
    assert isinstance(report, TicketReport)
    assert (report.written, report.overwritten) == (("status",), {"status": "acknowledged"})


async def test_an_incident_of_theirs_is_linked_by_number_or_id(system: Linked, account: FakeAccount) -> None:
    theirs = account.create("theirs", "", PERSON)
    linked = await system.tickets.mark(system.http, system.link, theirs.id, MARKER)
    assert (ticket(linked).external_id, ticket(linked).marker) == (theirs.id, "")
    missing = await system.tickets.read(system.http, system.link, "PNOTHING")
    assert isinstance(missing, Gone)
    assert isinstance(await system.tickets.comment(system.http, system.link, "PNOTHING", "x", public=False), Gone)


async def test_notes_go_out_once_and_are_found(system: Linked) -> None:
    made = await system.create(title="x")
    mark = marker("intent-1")
    find = system.tickets.find_comment
    assert isinstance(await find(system.http, system.link, made.external_id, mark), NotFound)
    said = await system.tickets.comment(system.http, system.link, made.external_id, f"hello\n\n{mark}", public=False)
    assert said == "PNOTE000001"
    assert await find(system.http, system.link, made.external_id, mark) == Found("PNOTE000001")
    await system.served.post("/_faults", {"kind": "status", "status": 503})
    assert isinstance(await find(system.http, system.link, made.external_id, mark), Unknown)


async def test_a_duplicate_is_resolved_with_a_note_once(system: Linked, account: FakeAccount) -> None:
    made = await system.create(title="x")
    for _ in range(2):
        gone = ticket(await system.tickets.retire(system.http, system.link, made.external_id, "a duplicate of #1"))
        assert gone.fields["status"] == "resolved"
    assert account.effects == {"created": 1, "note": 1, "resolved": 1}


async def test_changes_are_read_in_order_with_their_notes(system: Linked, clock: Clock, account: FakeAccount) -> None:
    made = []
    for number in range(3):
        clock.now += 1
        made.append(await system.create(f"inc-{number}-int_1", title=f"n{number}"))
    account.create("linked to nothing", "", PERSON)
    clock.now += 1
    account.edit(made[0].external_id, {"title": "changed"}, PERSON)
    account.add_note(made[1].external_id, "seen?", PERSON)
    cursor, titles, notes = Cursor(made[0].updated_at - 1, "", made[0].updated_at - 1), [], []
    while True:
        page = await system.tickets.list_changed(system.http, system.link, cursor, 1)
        assert isinstance(page, Page)
        titles += [one.fields["title"] for one in page.tickets]
        notes += [(one.note_id, one.text, one.author) for one in page.notes]
        cursor = page.cursor
        if page.is_last:
            break
    assert titles == ["n2", "changed", "n1"]
    assert notes == [("PNOTE000001", "seen?", PERSON.lower())]


async def test_an_empty_cursor_begins_an_hour_ago(system: Linked, clock: Clock) -> None:
    clock.now = time.time() - 5
    await system.create(title="new")
    page = await system.tickets.list_changed(system.http, system.link, Cursor(), 10)
    assert isinstance(page, Page)
    assert [one.fields["title"] for one in page.tickets] == ["new"]


async def test_failures_are_told_apart(system: Linked) -> None:
    await system.served.post("/_faults", {"kind": "status", "status": 429, "headers": {"ratelimit-reset": "30"}})
    limited = await system.tickets.read(system.http, system.link, "P1")
    assert limited == TransientFailure("rate limited", 30.0, throttled=True)
    stranger = integration("pagerduty_records", {**system.link.config, "from_email": "x@y"}, Secret("api_token", TOKEN))
    refused = await system.tickets.create(system.http, stranger, MARKER, {"title": "x"})
    assert refused == PermanentFailure("HTTP 400: Requester User Not Found")
    nobody = integration("pagerduty_records", system.link.config)
    assert await system.tickets.find(system.http, nobody, MARKER) == PermanentFailure(
        "the integration has no api_token"
    )
