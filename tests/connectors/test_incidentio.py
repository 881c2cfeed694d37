"""incident.io: signed webhooks, and its API against the running fake."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from connectors.incidentio.client import IncidentIoTickets
from connectors.incidentio.config import check
from connectors.incidentio.inbound import IncidentIoReceives
from connectors.incidentio.signature import TOLERANCE_MS, sign, verify
from connectors.kit.contract import Delivery, Secret
from connectors.kit.outcome import Gone, NotFound, PermanentFailure, TransientFailure
from connectors.kit.ticket_attempt import TicketAttempt, TicketReport
from connectors.kit.tickets import Cursor, Page
from infra.fakes.incidentio import webhook
from infra.fakes.incidentio.app import FakeIncidentIo
from infra.fakes.incidentio.incidents import API_KEY, MARKER_FIELD, user
from infra.fakes.store import Store
from streams.domain.outputs import Intent
from streams.domain.signals import ProviderIngested
from streams.domain.tickets import TicketObserved, TicketRequest
from tests.connectors.examples import integration, payload
from tests.connectors.ticket_system import MARKER, TOKEN, Linked, linked, ticket
from tests.fakes.clock import Clock
from tests.harness.serving import serving

CONFIG = {"marker_field_id": MARKER_FIELD}
UPDATED = "public_incident.incident_updated_v2"
MOVED = "public_incident.incident_status_updated_v2"
VECTOR = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(clock: Clock) -> FakeIncidentIo:
    return FakeIncidentIo(Store(), TOKEN, clock=clock)


@pytest.fixture
async def system(fake: FakeIncidentIo) -> AsyncIterator[Linked]:
    async with linked("incidentio", IncidentIoTickets(), fake.app(), fake.effects, CONFIG) as found:
        yield found


def parsed(document: Any, **headers: str) -> list[Any]:
    delivery = Delivery(orjson.dumps(document), headers)
    return IncidentIoReceives().parse(integration("incidentio"), delivery, document)


def incident(**changes: Any) -> dict[str, Any]:
    return {**orjson.loads(payload("incidentio", "incident_updated"))[UPDATED], **changes}


def intent(action: str, external_id: str, request: TicketRequest) -> Intent:
    """A planned action about the incident."""
    return Intent("i", "a", "incidentio", "int_1", action, external_id, "i", "e", 0, payload=request.payload())


def test_the_published_vector_verifies() -> None:
    secret, id_, timestamp = VECTOR
    body = b'{"test": 2432232314}'
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(body, id_, timestamp, secret) == signature
    now = int(timestamp) * 1000
    for prefix in ("webhook", "svix"):
        values = {f"{prefix}-id": id_, f"{prefix}-timestamp": timestamp}
        for given in (signature, f"v1,AAAA {signature}", f"v1a,xyz {signature} v2,abc"):
            assert verify(Delivery(body, {**values, f"{prefix}-signature": given}), [secret], now)
        for given in ("", "v1,", signature.replace("v1,", "v2,"), signature[3:]):
            assert not verify(Delivery(body, {**values, f"{prefix}-signature": given}), [secret], now)


@pytest.mark.parametrize(
    ("changes", "offset_ms", "good"),
    [
        ({}, 0, True),
        ({}, TOLERANCE_MS, True),
        ({}, -TOLERANCE_MS, True),
        ({}, TOLERANCE_MS + 1000, False),
        ({}, -TOLERANCE_MS - 1000, False),
        ({"webhook-id": "msg_other"}, 0, False),
        ({"webhook-id": ""}, 0, False),
        ({"webhook-timestamp": "1614265331"}, 0, False),
        ({"webhook-timestamp": "1614265330.0"}, 0, False),
        ({"webhook-timestamp": "9" * 40}, 0, False),
        ({"webhook-timestamp": ""}, 0, False),
    ],
)
def test_what_is_signed_cannot_be_changed_or_sent_again_later(
    changes: dict[str, str], offset_ms: int, *, good: bool
) -> None:
    secret, id_, timestamp = VECTOR
    signed = webhook.sign(b"{}", secret, {"webhook-id": id_}, at=int(timestamp))
    headers = {"webhook-id": id_, **signed, **changes}
    assert verify(Delivery(b"{}", headers), ["whsec_", secret], int(timestamp) * 1000 + offset_ms) is good
    assert not verify(Delivery(b"{ }", headers), [secret], int(timestamp) * 1000)


def test_an_update_becomes_the_ticket() -> None:
    [(envelope, seen)] = parsed({"event_type": UPDATED, UPDATED: incident()})
    assert isinstance(seen, TicketObserved)
    assert (envelope.source, envelope.time) == ("/integrations/incidentio/int_1", "2026-11-22T10:00:00.123Z")
    assert (seen.external_id, seen.external_key) == ("01FDAG4SAP5TYPT98WGR2N7W91", "INC-123")
    assert (seen.marker[:4], seen.version, seen.updated_at) == ("inc-", 1_795_341_600_123, 1_795_341_600_123)
    assert seen.fields == {
        "name": "Checkout answers 500",
        "summary": "Since the deploy at noon",
        "severity": "Major",
        "status": "Investigating",
        "status_category": "live",
    }


def test_what_is_absent_says_nothing_and_no_severity_is_an_empty_one() -> None:
    [(_, seen)] = parsed({"event_type": UPDATED, UPDATED: {"id": "01A", "severity": None, "summary": "\0"}})
    assert isinstance(seen, TicketObserved)
    assert seen.fields == {"severity": "", "summary": "\N{REPLACEMENT CHARACTER}"}
    assert (seen.marker, seen.version) == ("", 0)


def test_a_message_with_a_change_of_status_is_a_note() -> None:
    moved = {"incident": incident(), "new_status": {}, "previous_status": {}, "message": "Rolled back"}
    (envelope, seen), (noted, note) = parsed({"event_type": MOVED, MOVED: moved})
    assert isinstance(seen, TicketObserved)
    assert isinstance(note, ProviderIngested)
    assert (note.action, note.external_id, note.text) == ("note", seen.external_id, "Rolled back")
    for one in ((envelope, seen), (noted, note)):  # each raw body parses to its message alone
        assert parsed(orjson.loads(one[1].raw)) == [one]
    assert len(parsed({"event_type": MOVED, MOVED: {**moved, "message": ""}})) == 1


def test_a_private_incident_is_a_reason_to_read_it_each_time() -> None:
    kind = "private_incident.incident_updated_v2"
    document = {"event_type": kind, kind: {"id": "01PRIVATE"}}
    [(first, seen)] = parsed(document, **{"webhook-id": "msg_1"})
    [(second, _)] = parsed(document, **{"svix-id": "msg_2"})
    [(again, _)] = parsed(document, **{"webhook-id": "msg_1"})
    assert isinstance(seen, TicketObserved)
    assert (seen.external_id, seen.version, seen.fields) == ("01PRIVATE", 0, {})
    assert first.id == again.id != second.id


@pytest.mark.parametrize(
    ("document", "kind", "problem"),
    [
        ({"event_type": UPDATED, UPDATED: incident(mode="test")}, UPDATED, ""),
        ({"event_type": UPDATED, UPDATED: incident(mode="tutorial")}, UPDATED, ""),
        ({"event_type": "public_incident.action_created_v1"}, "public_incident.action_created_v1", ""),
        ({"event_type": "schedule.created_v9", "x": 1}, "schedule.created_v9", ""),
        ({"event_type": UPDATED}, "incidentio.unknown", f"{UPDATED} without an incident id"),
        ({"event_type": MOVED, MOVED: []}, "incidentio.unknown", f"{MOVED} without an incident id"),
        ({"event_type": 7}, "incidentio.unknown", "no event_type"),
        ([], "incidentio.unknown", "no event_type"),
    ],
)
def test_what_is_no_ticket_is_kept_raw(document: Any, kind: str, problem: str) -> None:
    [(_, kept)] = parsed(document)
    assert isinstance(kept, ProviderIngested)
    assert (kept.provider_type, kept.action, kept.problem) == (kind, "none", problem)
    assert kept.raw == orjson.dumps(document)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (CONFIG, ""),
        ({}, "marker_field_id"),
        ({"marker_field_id": "../x"}, "marker_field_id"),
        ({**CONFIG, "base_url": "https://incident.example.com"}, "host must be one of api.incident.io"),
        ({**CONFIG, "visibility": "secret"}, "visibility"),
        ({**CONFIG, "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_configuration_is_refused(config: dict[str, Any], wrong: str) -> None:
    assert wrong in check(config)
    assert bool(check(config)) == bool(wrong)


async def test_an_incident_is_made_once_by_its_key(system: Linked) -> None:
    await system.fault(kind="drop_after", on="create")
    lost = await system.tickets.create(system.http, system.link, MARKER, {"name": "Disk full"})
    assert isinstance(lost, TransientFailure)
    made = await system.create(name="Disk full", severity="Major", status_category="live")
    assert (made.external_key, made.marker, made.fields["name"]) == ("INC-1", MARKER, "Disk full")
    assert system.effects()["tickets_by_marker"] == {MARKER: 1}
    other = await system.create("inc-other-int_1", name="y", severity="Critical", status="Fixing", summary="s")
    assert (other.fields["severity"], other.fields["status"], other.fields["status_category"]) == (
        "Critical",
        "Fixing",
        "live",
    )
    assert other.url.endswith("/incidents/2")


async def test_writes_name_severities_and_statuses(system: Linked, clock: Clock) -> None:
    made = await system.create(name="x")
    clock.now += 1
    done = await system.write(made.external_id, name="y", severity="Critical", status_category="closed")
    assert (done.fields["name"], done.fields["severity"], done.fields["status"]) == ("y", "Critical", "Closed")
    assert done.version > made.version
    assert await system.write(made.external_id, name="y") == done  # nothing changed
    for changes, why in (
        ({"severity": "Nirvana"}, "no severity with name 'Nirvana'; there are Minor, Major, Critical"),
        ({"status_category": "asleep"}, "no status with category 'asleep'"),
        ({"status": "Merged"}, "HTTP 422: incident_status_id: an incident is merged in the product alone"),
        ({"colour": "red"}, "not among the followed fields: colour"),
    ):
        refused = await system.tickets.write(system.http, system.link, made.external_id, changes)
        assert isinstance(refused, PermanentFailure)
        assert why in refused.reason


async def test_an_incident_is_linked_by_its_reference_and_let_go(system: Linked, fake: FakeIncidentIo) -> None:
    fake.incidents.create({"idempotency_key": "k", "visibility": "public", "name": "theirs"}, user("eve"))
    for reference in ("INC-1", "inc-1", "1"):
        assert (await system.read(reference)).external_id == "01INCIDENT0001"
    planned = intent("ticket_link", "INC-1", TicketRequest(MARKER))
    report = await TicketAttempt(system.tickets, system.http, system.link, planned, 1).make()
    assert isinstance(report, TicketReport)
    assert ticket(report.ticket).marker == MARKER
    assert (await system.read("INC-1")).marker == MARKER
    let_go = await system.tickets.mark(system.http, system.link, "01INCIDENT0001", "")
    assert ticket(let_go).marker == ""
    missing = await system.tickets.read(system.http, system.link, "INC-99")
    assert isinstance(missing, Gone)


async def test_updates_tell_who_changed_what(system: Linked, clock: Clock, fake: FakeIncidentIo) -> None:
    made = await system.create(name="x", severity="Minor")
    clock.now += 1
    fake.incidents.edit(made.external_id, {"severity_id": "01SEV3", "incident_status_id": "01STATUS2"}, user("eve"))
    clock.now += 1
    await system.write(made.external_id, severity="Major")
    found = await system.tickets.history(system.http, system.link, made.external_id, made.version)
    assert isinstance(found, list)
    assert [(one.field, one.before, one.after, one.ours) for one in found] == [
        ("status", "Investigating", "Fixing", False),
        ("severity", "Minor", "Critical", False),
        ("severity", "Critical", "Major", True),
    ]
    other = Linked(
        system.tickets,
        system.http,
        integration("incidentio", {**system.link.config, "api_key_id": "01OTHER"}, Secret("api_token", TOKEN)),
        system.served,
        system.effects,
    )
    again = await other.tickets.history(other.http, other.link, made.external_id, made.version)
    assert isinstance(again, list)
    assert not any(one.ours for one in again)
    assert API_KEY["api_key"]["id"] == "01APIKEY"


async def test_an_edit_that_slipped_in_is_told(
    system: Linked, clock: Clock, fake: FakeIncidentIo, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await system.create(name="x", severity="Minor")
    clock.now += 1
    read = system.tickets.read

    async def read_then_edited(*given: Any) -> Any:
        found = await read(*given)
        fake.incidents.edit(made.external_id, {"severity_id": "01SEV3"}, user("eve"))
        return found

    monkeypatch.setattr(system.tickets, "read", read_then_edited)  # the moment between reading and writing
    request = TicketRequest(MARKER, {"severity": "Major"}, {"severity": "Minor"}, made.version)
    planned = intent("ticket_update", made.external_id, request)
    report = await TicketAttempt(system.tickets, system.http, system.link, planned, 1).make()
    assert isinstance(report, TicketReport)
    assert (report.status, report.written, report.overwritten) == ("done", ("severity",), {"severity": "Critical"})


async def test_a_duplicate_is_canceled_once(system: Linked) -> None:
    made = await system.create(name="x")
    for _ in range(2):
        gone = ticket(await system.tickets.retire(system.http, system.link, made.external_id, "a duplicate"))
        assert (gone.marker, gone.fields["status_category"]) == ("", "canceled")
    assert system.effects()["writes"] == 2


async def test_notes_are_refused_with_what_to_do(system: Linked) -> None:
    refused = await system.tickets.comment(system.http, system.link, "01INCIDENT0001", "hello", public=False)
    assert isinstance(refused, PermanentFailure)
    assert "comments: in" in refused.reason
    found = await system.tickets.find_comment(system.http, system.link, "01INCIDENT0001", "m")
    assert isinstance(found, NotFound)


async def test_changes_are_read_in_order_from_where_they_were_left(
    system: Linked, clock: Clock, fake: FakeIncidentIo
) -> None:
    made = []
    for number in range(3):
        clock.now += 1
        made.append(await system.create(f"inc-{number}-int_1", name=f"n{number}"))
    fake.incidents.create({"idempotency_key": "k", "visibility": "public"}, user("eve"))  # is linked to nothing
    clock.now += 1
    await system.write(made[0].external_id, name="changed")
    cursor, names = Cursor(made[0].updated_at - 1, ""), []
    while True:
        page = await system.tickets.list_changed(system.http, system.link, cursor, 2)
        assert isinstance(page, Page)
        names += [one.fields["name"] for one in page.tickets]
        cursor = page.cursor
        if page.is_last:
            break
    assert names == ["n1", "n2", "changed"]
    again = await system.tickets.list_changed(system.http, system.link, cursor, 2)
    assert isinstance(again, Page)
    assert (again.tickets, again.cursor, again.is_last) == ([], cursor, True)


async def test_an_empty_cursor_begins_an_hour_ago(fake: FakeIncidentIo, clock: Clock) -> None:
    clock.now = time.time() - 5
    async with linked("incidentio", IncidentIoTickets(), fake.app(), fake.effects, CONFIG) as system:
        await system.create(name="new")
        page = await system.tickets.list_changed(system.http, system.link, Cursor(), 10)
    assert isinstance(page, Page)
    assert [one.fields["name"] for one in page.tickets] == ["new"]


async def test_a_rate_limit_says_how_long(clock: Clock) -> None:
    clock.now = time.time()
    fake = FakeIncidentIo(Store(), TOKEN, limit_per_minute=1, clock=clock)
    async with linked("incidentio", IncidentIoTickets(), fake.app(), fake.effects, CONFIG) as system:
        await system.create(name="x")
        refused = await system.tickets.read(system.http, system.link, "1")
    assert isinstance(refused, TransientFailure)
    assert refused.throttled
    assert 50 < refused.retry_after_s < 65


@pytest.mark.parametrize(("token", "status"), [("wrong", "HTTP 401"), ("", "no api_token")])
async def test_a_wrong_token_fails_for_good(fake: FakeIncidentIo, token: str, status: str) -> None:
    async with linked("incidentio", IncidentIoTickets(), fake.app(), fake.effects, CONFIG) as system:
        secrets = [Secret("api_token", token)] if token else []
        link = integration("incidentio", system.link.config, *secrets)
        refused = await system.tickets.read(system.http, link, "1")
    assert isinstance(refused, PermanentFailure)
    assert status in refused.reason


async def test_the_fakes_webhooks_are_understood(clock: Clock) -> None:
    """What the fake sends verifies and parses; a private incident tells its id alone."""
    told: list[Delivery] = []

    async def take(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        told.append(Delivery(message["body"], headers))
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    clock.now = time.time()
    fake = FakeIncidentIo(Store(), TOKEN, clock=clock)
    secret = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    async with serving(take) as endpoint, serving(fake.app()) as served:
        await served.post("/_webhook", {"url": endpoint.url, "secret": secret})
        async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            for visibility in ("public", "private"):
                body = {"idempotency_key": visibility, "visibility": visibility, "name": visibility}
                await client.post("/v2/incidents", json=body)
            await client.post("/_page/01INCIDENT0001", data={"incident_status_id": "01STATUS3", "message": "better"})
        await fake.webhooks.settled()
    assert all(verify(one, [secret], int(time.time() * 1000)) for one in told)
    receives = IncidentIoReceives()
    found = [
        message for one in told for message in receives.parse(integration("incidentio"), one, orjson.loads(one.body))
    ]
    notes = [data.text for _, data in found if isinstance(data, ProviderIngested)]
    seen = [(data.external_id, bool(data.fields)) for _, data in found if isinstance(data, TicketObserved)]
    assert notes == ["better"]
    assert sorted(seen) == [("01INCIDENT0001", True)] * 3 + [("01INCIDENT0002", False)]
