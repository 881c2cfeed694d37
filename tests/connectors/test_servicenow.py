"""ServiceNow: the rule's deliveries, and the Table API against the running fake."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest

from connectors.kit.contract import Delivery, Secret
from connectors.kit.http import ProviderHttp
from connectors.kit.markers import marker
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Page
from connectors.servicenow import queries
from connectors.servicenow.authentication import Authentication
from connectors.servicenow.client import ServiceNowTickets
from connectors.servicenow.config import ServiceNowConfig, check
from connectors.servicenow.inbound import ServiceNowReceives
from connectors.servicenow.signature import TOLERANCE_MS, sign, verify
from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.store import Store
from streams.domain.signals import ProviderIngested
from streams.domain.tickets import TicketObserved
from tests.connectors.examples import CONFIGS, integration, payload
from tests.connectors.ticket_system import MARKER, TOKEN, Linked, linked, ticket
from tests.fakes.clock import Clock

SOURCE = "/integrations/servicenow/int_1"
CONFIG = {"username": "incidents"}
AT = 1_795_341_600_000


def fake_of(clock: Clock, **more: Any) -> FakeServiceNow:
    return FakeServiceNow(Store(), "incidents", TOKEN, clock=clock, **more)


@pytest.fixture
def clock() -> Clock:
    found = Clock()
    found.now = float(int(time.time()))  # an empty cursor begins at our own clock
    return found


@pytest.fixture
async def system(clock: Clock) -> AsyncIterator[Linked]:
    fake = fake_of(clock)
    async with linked("servicenow", ServiceNowTickets(), fake.app(), fake.effects, CONFIG) as found:
        yield found


def parsed(document: Any) -> list[Any]:
    body = orjson.dumps(document)
    return ServiceNowReceives().parse(integration("servicenow"), Delivery(body, {}), document)


def update(**changes: Any) -> dict[str, Any]:
    return {**orjson.loads(payload("servicenow", "incident_update")), **changes}


def test_the_rules_delivery_becomes_the_ticket_and_its_notes() -> None:
    (envelope, seen), (noted, note) = parsed(update())
    assert isinstance(seen, TicketObserved)
    assert (envelope.source, envelope.tenantid, envelope.time) == (SOURCE, "acme", "2026-11-22T10:00:00.000Z")
    assert (seen.external_id, seen.external_key) == ("9d385017c611228701d22104cc95c371", "INC0010042")
    assert (seen.marker, seen.version, seen.updated_at, seen.updated_by) == (MARKER, 8, AT, "beth.anglin")
    assert seen.fields["state"] == "2"
    assert seen.fields["description"] == ""
    assert "sys_id" not in seen.fields
    assert isinstance(note, ProviderIngested)
    assert (note.action, note.external_id, note.actor) == ("note", seen.external_id, "servicenow:beth.anglin")
    assert note.text == "Restarted the gateway, watching."
    assert noted.id != envelope.id
    for one in ((envelope, seen), (noted, note)):  # each raw body parses to its message alone
        assert parsed(orjson.loads(one[1].raw)) == [one]


def test_our_own_note_does_not_come_back() -> None:
    entry = {"sys_id": "j1", "element": "work_notes", "value": f"rolled back\n\n{marker('k1')}"}
    [_, (_, note)] = parsed(update(journal=[entry]))
    assert note.action == "none"


def test_references_may_be_objects_and_columns_hidden() -> None:
    [(_, seen)] = parsed(update(record={"assigned_to": {"link": "https://x", "value": "u1"}}, journal=[]))
    assert seen.fields == {"assigned_to": "u1"}
    assert (seen.version, seen.updated_at, seen.marker) == (0, 0, "")


def test_the_same_state_is_the_same_delivery_however_it_is_told() -> None:
    first, again = parsed(update())[0][0].id, parsed(update(changed=[], extra=1))[0][0].id
    assert first == again
    other = parsed(update(record={**update()["record"], "state": "3"}))[0][0].id
    assert other != first


def test_a_deleted_record_is_told() -> None:
    [(_, seen)] = parsed({"event": "incident.delete", "sys_id": "a"})
    assert seen.deleted
    assert seen.fields == {}


@pytest.mark.parametrize(
    "document", [None, [], {}, {"event": "incident.update"}, {"sys_id": "a"}, {"event": 1, "sys_id": ""}]
)
def test_what_is_no_delivery_is_a_problem(document: Any) -> None:
    [(_, data)] = parsed(document)
    assert data.problem


@pytest.mark.parametrize(
    "junk", [{"record": 1}, {"journal": "x"}, {"journal": [1, None]}, {"record": {"state": ["x"]}}]
)
def test_junk_in_any_place_is_no_accident(junk: dict[str, Any]) -> None:
    assert parsed(update(**junk))


def test_an_unknown_event_is_kept_raw() -> None:
    [(_, data)] = parsed({"event": "problem.update", "sys_id": "a"})
    assert (data.action, data.problem, data.provider_type) == ("none", "", "problem.update")


def test_the_signature_covers_the_time() -> None:
    stamp = str(AT // 1000)
    headers = {"x-incidents-timestamp": stamp, "x-incidents-signature": sign(b"{}", stamp, "s")}
    one = Delivery(b"{}", headers)
    assert verify(one, ["other", "s"], AT)
    assert verify(one, ["s"], AT + TOLERANCE_MS)
    assert not verify(one, ["s"], AT + TOLERANCE_MS + 1)
    assert not verify(one, ["s"], AT - TOLERANCE_MS - 1)
    assert not verify(replace(one, headers={**headers, "x-incidents-timestamp": str(AT // 1000 + 1)}), ["s"], AT)
    for junk in ("", "1e9", "-5", "\u0663", "9" * 40):
        assert not verify(replace(one, headers={**headers, "x-incidents-timestamp": junk}), ["s"], AT)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"base_url": "https://evil.example"}, "base_url: host must be one of *.service-now.com"),
        ({"base_url": "https://a.b.service-now.com"}, "base_url: host must be one of"),
        ({"base_url": "https://service-now.com"}, "base_url: host must be one of"),
        ({"base_url": "https://acme.service-now.com.evil.example"}, "base_url: host must be one of"),
        ({"base_url": "http://acme.service-now.com"}, "base_url: must begin with https://"),
        ({"username": ""}, "auth basic needs username"),
        ({"auth": "oauth"}, "auth oauth needs client_id"),
        ({"auth": "none"}, "auth: "),
        ({"extra_fields": ["Bad Name"]}, "extra_fields"),
        ({"pasword": "x"}, "pasword: Extra inputs are not permitted"),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], why: str) -> None:
    assert check(CONFIGS["servicenow"]) == ""
    assert check({**CONFIGS["servicenow"], **change}).startswith(why)


def test_a_value_cannot_end_its_condition() -> None:
    path = queries.with_marker(ServiceNowConfig(base_url="https://x"), "a^state=6")
    assert "correlation_id%3Da%5E%5Estate%3D6%5EORDERBY" in path


async def test_create_puts_the_marker_on(system: Linked) -> None:
    made = await system.create(short_description="Disk full", impact="1", urgency="2")
    assert (made.external_key, made.marker, made.version) == ("INC0010001", MARKER, 1)
    assert (made.fields["priority"], made.fields["assigned_to"]) == ("2", "")
    assert made.url.endswith(f"incident.do%3Fsys_id%3D{made.external_id}")
    assert await system.tickets.find(system.http, system.link, MARKER) == [made]
    assert await system.tickets.find(system.http, system.link, "inc-other-int_1") == []
    assert system.effects()["tickets_by_marker"] == {MARKER: 1}


async def test_a_create_whose_answer_was_lost_is_found(system: Linked) -> None:
    await system.fault(kind="drop_after", on="create")
    lost = await system.tickets.create(system.http, system.link, MARKER, {"short_description": "x"})
    assert isinstance(lost, TransientFailure)
    found = await system.tickets.find(system.http, system.link, MARKER)
    assert isinstance(found, list)
    assert len(found) == 1


async def test_a_write_raises_the_version_by_one_and_an_empty_one_does_not(system: Linked) -> None:
    made = await system.create(short_description="x")
    assert (await system.write(made.external_id, urgency="1")).version == made.version + 1
    assert (await system.write(made.external_id, urgency="1")).version == made.version + 1
    assert system.tickets.versioning == "counter"
    assert await system.tickets.history(system.http, system.link, made.external_id, 0) == []


async def test_what_rules_make_of_a_write_comes_back(system: Linked) -> None:
    await system.served.post("/_rules", {"rules": [{"field": "urgency", "value": "1", "becomes": "2"}]})
    made = await system.create(short_description="x")
    assert (await system.write(made.external_id, urgency="1")).fields["urgency"] == "2"


async def test_missing_close_fields_are_named_for_good(system: Linked) -> None:
    made = await system.create(short_description="x")
    refused = await system.tickets.write(system.http, system.link, made.external_id, {"state": "6"})
    assert isinstance(refused, PermanentFailure)
    assert "Resolution code, Resolution notes" in refused.reason
    resolved = await system.write(made.external_id, state="6", close_code="Solved", close_notes="restarted")
    assert resolved.fields["state"] == "6"


async def test_a_column_that_is_not_followed_is_not_written(system: Linked) -> None:
    refused = await system.tickets.create(system.http, system.link, MARKER, {"short_desc": "x"})
    assert isinstance(refused, PermanentFailure)
    assert "short_desc" in refused.reason
    assert system.effects()["writes"] == 0


async def test_gone_and_hidden_records(system: Linked) -> None:
    for found in (
        await system.tickets.read(system.http, system.link, "f" * 32),
        await system.tickets.write(system.http, system.link, "f" * 32, {"state": "2"}),
        await system.tickets.mark(system.http, system.link, "f" * 32, MARKER),
        await system.tickets.comment(system.http, system.link, "f" * 32, "x", public=False),
        await system.tickets.retire(system.http, system.link, "f" * 32, "x"),
    ):
        assert found == Gone("Record doesn't exist or ACL restricts the record retrieval")


async def test_a_note_is_found_again_and_never_read_as_a_value(system: Linked) -> None:
    made = await system.create(short_description="x")
    mark = marker("k-1")
    assert await system.tickets.find_comment(system.http, system.link, made.external_id, mark) == NotFound()
    sent = await system.tickets.comment(system.http, system.link, made.external_id, f"hello\n\n{mark}", public=False)
    assert sent == ""
    assert isinstance(await system.tickets.find_comment(system.http, system.link, made.external_id, mark), Found)
    assert system.effects()["effects"] == {"created": 1, "updated": 1, "work_notes": 1}
    assert "work_notes" not in (await system.read(made.external_id)).fields
    await system.fault(kind="status", status=503)
    assert isinstance(await system.tickets.find_comment(system.http, system.link, made.external_id, mark), Unknown)


async def test_a_duplicate_is_retired_once(system: Linked) -> None:
    made = await system.create(short_description="x")
    for _ in range(2):
        retired = ticket(await system.tickets.retire(system.http, system.link, made.external_id, "duplicate"))
        assert (retired.fields["state"], retired.marker) == ("8", "")
    assert system.effects()["effects"]["work_notes"] == 1


async def test_marking_a_ticket_of_somebody_and_taking_it_off(system: Linked) -> None:
    made = await system.create("")
    assert ticket(await system.tickets.mark(system.http, system.link, made.external_id, MARKER)).marker == MARKER
    assert ticket(await system.tickets.mark(system.http, system.link, made.external_id, "")).marker == ""


async def test_changes_are_listed_by_pages_without_a_gap(system: Linked, clock: Clock) -> None:
    made = []
    for place in range(7):
        made.append((await system.create(f"inc-{place}-int_1", short_description="x")).external_id)
        clock.now += place % 3 == 2  # three in each second
    await system.create("", short_description="not linked")
    listed: list[str] = []
    cursor, sizes = Cursor(int(clock.now - 60) * 1000), []
    while True:
        page = await system.tickets.list_changed(system.http, system.link, cursor, 2)
        assert isinstance(page, Page)
        listed += [one.external_id for one in page.tickets]
        sizes.append(len(page.tickets))
        cursor = page.cursor
        if page.is_last:
            break
    assert sorted(listed) == sorted(made)
    assert len(listed) == 7
    assert max(sizes) == 2
    clock.now += 1  # within the cursor's second only the caller's overlap sees it
    await system.write(made[0], urgency="1")
    page = await system.tickets.list_changed(system.http, system.link, cursor, 10)
    assert isinstance(page, Page)
    assert made[0] in [one.external_id for one in page.tickets]


async def test_an_empty_cursor_begins_now(system: Linked, clock: Clock) -> None:
    await system.create(short_description="x")
    page = await system.tickets.list_changed(system.http, system.link, Cursor(), 10)
    assert isinstance(page, Page)
    assert len(page.tickets) == 1
    assert page.cursor.updated_at == int(clock.now) * 1000
    clock.now += 7_200
    assert isinstance(await system.tickets.list_changed(system.http, system.link, page.cursor, 10), Page)


async def test_notes_of_a_later_page_are_not_missed(system: Linked, clock: Clock) -> None:
    noted = await system.create("inc-a-int_1", short_description="x")
    began = int(clock.now) * 1000
    await system.tickets.comment(system.http, system.link, noted.external_id, "seen?", public=False)
    clock.now += 10
    await system.create("inc-b-int_1", short_description="y")
    clock.now += 10
    await system.write(noted.external_id, urgency="1")
    first = await system.tickets.list_changed(system.http, system.link, Cursor(began, began=began), 1)
    assert isinstance(first, Page)
    assert not first.notes
    second = await system.tickets.list_changed(system.http, system.link, first.cursor, 1)
    assert isinstance(second, Page)
    assert [note.text for note in second.notes] == ["seen?"]


async def test_deletions_are_listed_where_the_account_may_see_them(system: Linked, clock: Clock) -> None:
    made = await system.create(short_description="x")
    watching = replace(system.link, config={**system.link.config, "poll_deletes": True})
    async with httpx.AsyncClient(base_url=system.served.url, auth=("incidents", TOKEN), trust_env=False) as client:
        await client.delete(f"/api/now/table/incident/{made.external_id}")
    page = await system.tickets.list_changed(system.http, watching, Cursor(int(clock.now - 60) * 1000), 10)
    assert isinstance(page, Page)
    assert page.deleted == [made.external_id]
    page = await system.tickets.list_changed(system.http, system.link, Cursor(int(clock.now - 60) * 1000), 10)
    assert isinstance(page, Page)
    assert page.deleted == []


async def test_a_query_that_was_not_understood_is_not_believed(
    system: Linked, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(3):
        await system.create(f"inc-{place}-int_1", short_description="x")
        clock.now += 1
    monkeypatch.setattr(queries, "changed", lambda *_: f"{queries.INCIDENT}?sysparm_query=nonsense")
    await system.write((await system.create(short_description="y")).external_id, urgency="1")
    later = Cursor(int(clock.now + 60) * 1000)
    assert await system.tickets.list_changed(system.http, system.link, later, 10) == PermanentFailure(
        "the instance did not understand the query for changes"
    )


async def test_the_rate_limit_is_honoured(clock: Clock) -> None:
    fake = fake_of(clock, limit_per_hour=1)
    async with linked("servicenow", ServiceNowTickets(), fake.app(), fake.effects, CONFIG) as system:
        await system.create(short_description="x")
        refused = await system.tickets.find(system.http, system.link, MARKER)
        assert refused == TransientFailure("HTTP 429: Rate limit exceeded", 3_601.0, throttled=True)


async def test_a_reset_time_counts_where_there_is_no_retry_after(system: Linked) -> None:
    reset = str(int(time.time()) + 100)
    await system.fault(kind="status", status=429, headers={"X-RateLimit-Reset": reset})
    refused = await system.tickets.read(system.http, system.link, "a")
    assert isinstance(refused, TransientFailure)
    assert refused.throttled
    assert 90 < refused.retry_after_s <= 100


async def test_access_tokens_are_kept_renewed_and_asked_for_again_when_refused(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, calls = fake_of(clock), {"issued": 0}
    issue = fake.accounts.issue

    def counted(grant: str, client_secret: str) -> dict[str, object]:
        calls["issued"] += 1
        return issue(grant, client_secret)

    monkeypatch.setattr(fake.accounts, "issue", counted)
    tickets = ServiceNowTickets(Authentication(clock))
    oauth = {"auth": "oauth", "client_id": "client"}
    async with linked("servicenow", tickets, fake.app(), fake.effects, oauth) as system:
        made = await system.create(short_description="x")
        await system.read(made.external_id)
        assert calls["issued"] == 1
        clock.now += 1_800
        await system.read(made.external_id)
        assert calls["issued"] == 2
        fake.accounts.revoke()
        await system.read(made.external_id)
        assert calls["issued"] == 3
        wrong = replace(system.link, secrets=(Secret("api_token", "wrong"),))
        assert await tickets.read(system.http, wrong, made.external_id) == PermanentFailure("HTTP 401: no access token")


async def test_credentials_and_addresses_that_do_not_do(system: Linked) -> None:
    bearer = replace(system.link, config={**system.link.config, "auth": "bearer"})
    assert isinstance(await system.tickets.find(system.http, bearer, MARKER), list)
    found = [
        await system.tickets.find(system.http, replace(bearer, secrets=(Secret("api_token", "no"),)), MARKER),
        await system.tickets.find(system.http, replace(bearer, secrets=()), MARKER),
        await system.tickets.find(ProviderHttp(), bearer, MARKER),
    ]
    assert [one.reason for one in found if isinstance(one, PermanentFailure)] == [
        "HTTP 401: User Not Authenticated - Required to provide Auth information",
        "the integration has no api_token",
        "refused address: must begin with https://",
    ]


async def test_a_record_is_read_by_its_number_too(system: Linked) -> None:
    made = await system.create(short_description="x")
    for number in (made.external_key, made.external_key.lower()):
        assert await system.read(number) == made
    for number in ("INC9999999", f"{made.external_key}^ORstate=1", "*"):
        missing = await system.tickets.read(system.http, system.link, number)
        assert isinstance(missing, Gone)
