"""Files at ServiceNow and Jira, with the connectors' single calls and their safe ways, against the running fakes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from connectors.jira.client import JiraTickets
from connectors.jira.files import JiraFiles
from connectors.kit import http as kit_http
from connectors.kit.file_attempt import FileAttempt, FileReport, Store
from connectors.kit.http import ProviderHttp, Upload
from connectors.kit.outcome import Gone, PermanentFailure, TooLarge, TransientFailure
from connectors.kit.ticket_attempt import TicketAttempt, TicketReport
from connectors.kit.tickets import Cursor, FilesSeen, Page
from connectors.registry import CONNECTORS
from connectors.servicenow.authentication import Authentication
from connectors.servicenow.client import ServiceNowTickets
from connectors.servicenow.files import ServiceNowFiles
from infra.fakes.jira.access import Access
from infra.fakes.jira.app import FakeJira
from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.store import Store as FakeStore
from streams.domain.outputs import Intent
from streams.domain.ticket_files import KEEPERS, RemoteFile
from streams.domain.tickets import TicketRequest
from tests.connectors.ticket_system import TOKEN, linked
from tests.connectors.ticket_systems import CONTENT, MOST, Held, System
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    found = Clock()
    found.now = float(int(time.time()))
    return found


@pytest.fixture
async def servicenow(clock: Clock) -> AsyncIterator[System]:
    fake = FakeServiceNow(FakeStore(), "incidents", TOKEN, clock=clock, most_bytes=MOST)
    tickets = ServiceNowTickets()
    async with linked("servicenow", tickets, fake.app(), fake.effects, {"username": "incidents"}) as found:
        made = await found.create(short_description="x")
        about = {"table_name": "incident", "table_sys_id": made.external_id}

        def by_hand(name: str, content: bytes) -> str:
            return fake.attachments.add({**about, "file_name": name}, "text/plain", content, "beth")["sys_id"]

        files = ServiceNowFiles(Authentication())
        yield System("servicenow", found, files, Held(), made.external_id, by_hand, fake.attachments.delete)


@pytest.fixture
async def jira(clock: Clock) -> AsyncIterator[System]:
    access = Access("a@example.com", TOKEN, clock, burst=(1000, 1.0))
    fake = FakeJira(FakeStore(), access, clock=clock, lag_s=0.0, most_bytes=MOST)
    config = {"email": "a@example.com", "project": "OPS"}
    async with linked("jira", JiraTickets(), fake.app(), fake.effects, config) as found:
        made = await found.create(summary="x")
        person = "5b10a2844c20165700ede21g"

        def by_hand(name: str, content: bytes) -> str:
            return str(fake.attachments.add(made.external_key, name, "text/plain", content, person)["id"])

        def take_away(id_: str) -> None:
            fake.attachments.delete(id_, person)

        yield System("jira", found, JiraFiles(), Held(), made.external_id, by_hand, take_away)


@pytest.fixture(params=["servicenow", "jira"])
def system(request: pytest.FixtureRequest, servicenow: System, jira: System) -> System:
    return {"servicenow": servicenow, "jira": jira}[request.param]


def test_the_domain_knows_which_tickets_have_files() -> None:
    assert {name for name, one in CONNECTORS.items() if one.files is not None} == KEEPERS


async def test_a_file_is_uploaded_listed_and_downloaded(system: System) -> None:
    report = await system.upload()
    assert isinstance(report, FileReport)
    [made] = report.files
    assert made == RemoteFile(made.external_id), "its name is ours: what an erasure takes away must not come back so"
    [shown] = await system.there()
    assert (shown.external_id, shown.file_name, shown.size) == (made.external_id, "größe 1.bin", len(CONTENT))
    assert shown.media_type == "image/png"
    assert shown.sha256 in {"", hashlib.sha256(CONTENT).hexdigest()}
    content = await system.files.download(system.linked.http, system.linked.link, made.external_id, MOST)
    assert content == CONTENT


async def test_an_upload_whose_answer_was_lost_is_one_file(system: System) -> None:
    await system.linked.fault(kind="drop_after", on="attach")
    assert isinstance(await system.upload(), TransientFailure)
    again = await system.upload()
    assert isinstance(again, FileReport)
    assert again.detail == "größe 1.bin is there from an earlier attempt"
    assert [one.external_id for one in await system.there()] == [again.files[0].external_id]
    assert system.counted("attach") == 1


async def test_an_upload_that_timed_out_after_it_succeeded_is_one_file(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_http, "TRANSFER_TIMEOUT_S", 1.0)
    await system.linked.fault(kind="slow", seconds=2.0, on="attach")
    lost = await system.upload()
    assert isinstance(lost, TransientFailure)
    assert "no answer in time" in lost.reason
    assert isinstance(await system.upload(), FileReport)
    assert len(await system.there()) == 1


async def test_a_file_that_only_looks_the_same_is_another(system: System) -> None:
    first = await system.upload("core", b"one")
    second = await system.upload("core", b"two", known=first.files[0].external_id)
    assert second.files != first.files
    assert len(await system.there()) == 2


async def test_the_digest_tells_files_apart_where_there_is_one(servicenow: System) -> None:
    servicenow.by_hand("core", b"one")
    await servicenow.upload("core", b"two")
    assert len(await servicenow.there()) == 2


@pytest.mark.parametrize(
    ("fault", "kind", "why"),
    [
        ({"status": 413}, PermanentFailure, "HTTP 413"),
        ({"status": 403}, PermanentFailure, "HTTP 403"),
        ({"status": 429, "headers": {"Retry-After": "7"}}, TransientFailure, "HTTP 429"),
        ({"status": 503}, TransientFailure, "HTTP 503"),
    ],
)
async def test_what_a_refused_upload_means(system: System, fault: dict[str, Any], kind: type, why: str) -> None:
    await system.linked.fault(kind="status", on="attach", **fault)
    found = await system.upload("a.txt")
    assert isinstance(found, kind)
    assert found.reason.startswith(f"a.txt: {why}"), found  # type: ignore[attr-defined]
    if fault["status"] == 429:
        assert isinstance(found, TransientFailure)
        assert (found.retry_after_s, found.throttled) == (7.0, True)
    assert await system.there() == []


async def test_what_a_target_does_not_take_is_refused_for_good(servicenow: System, jira: System) -> None:
    for system in (servicenow, jira):
        large = await system.upload("a.bin", b"x" * (MOST + 1))
        assert isinstance(large, PermanentFailure), large
    refused = await servicenow.upload("virus.exe")
    assert isinstance(refused, PermanentFailure)
    assert "File type is not allowed" in refused.reason


async def test_a_file_of_theirs_is_fetched_once_it_is_asked_for(system: System) -> None:
    id_ = system.by_hand("core dump.txt", b"core")
    listed = await system.attempt("ticket_list_files")
    [file] = listed.files
    assert (file.external_id, file.file_name, file.size) == (id_, "core dump.txt", 4)
    assert file.actor == {"servicenow": "servicenow:beth", "jira": "jira:Mia Krystof"}[system.name]
    fetched = await system.attempt("ticket_fetch", file_id=id_, file_name=file.file_name, size="4", actor=file.actor)
    assert fetched.files == (replace(file, media_type="", sha256=hashlib.sha256(b"core").hexdigest()),)
    assert system.held.objects == {fetched.files[0].sha256: b"core"}
    known = await system.attempt("ticket_list_files", known=id_)
    assert known.files == (RemoteFile(id_),)


async def test_a_file_that_is_too_large_is_left_there(system: System) -> None:
    id_ = system.by_hand("large.bin", b"x" * MOST)
    for size in (MOST + 1, MOST):
        wanted = {"file_id": id_, "file_name": "large.bin", "size": str(size)}
        small = Store(system.held, MOST - 1)  # type: ignore[arg-type]  # the same two methods
        intent = Intent("i", "inc", system.name, "int_1", "ticket_fetch", system.ticket, "i", "e", 1, payload=wanted)
        report = await FileAttempt(system.files, system.linked.http, system.linked.link, intent, small).make()
        assert isinstance(report, FileReport)
        assert report.files[0].problem
        assert report.files[0].sha256 == ""
    assert system.held.objects == {}
    found = await system.files.download(system.linked.http, system.linked.link, id_, MOST - 1)
    assert found == TooLarge(f"more than {MOST - 1} bytes"), "whatever its description says"


async def test_what_is_gone_is_gone(system: System) -> None:
    id_ = system.by_hand("a.txt", b"a")
    system.take_away(id_)
    assert await system.there() == []
    assert isinstance(await system.attempt("ticket_fetch", file_id=id_, file_name="a.txt", size="1"), Gone)


async def test_an_empty_file_is_left_there(system: System) -> None:
    id_ = system.by_hand("empty", b"")
    report = await system.attempt("ticket_fetch", file_id=id_, file_name="empty")
    assert report.files[0].problem == "the file is empty"


async def test_without_storage_or_bytes_nothing_is_sent(system: System) -> None:
    gone = await system.attempt("ticket_attach", file_name="a.txt", sha256="0" * 64, size="1")
    assert gone == PermanentFailure("a.txt: its bytes were erased")
    id_ = system.by_hand("a.txt", b"a")
    system.held.away = True
    for action in ("ticket_attach", "ticket_fetch"):
        found = await system.attempt(action, file_id=id_, file_name="b.txt", sha256="0" * 64, size="1")
        assert isinstance(found, TransientFailure)
    intent = Intent("i", "inc", system.name, "int_1", "ticket_fetch", system.ticket, "i", "e", 1)
    bare = FileAttempt(system.files, system.linked.http, system.linked.link, intent, None)
    assert await bare.make() == PermanentFailure("no object storage is set up")
    assert system.counted("attach") == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"action": "ticket_delete"}, "there is no action"),
        ({"external_id": ""}, "no ticket to act on"),
        ({"payload": {"size": "many"}}, "payload: "),
    ],
)
async def test_intents_that_cannot_be_carried_out(servicenow: System, change: dict[str, Any], why: str) -> None:
    intent = Intent("i", "inc", "servicenow", "int_1", "ticket_fetch", servicenow.ticket, "i", "e", 1)
    attempt = FileAttempt(
        servicenow.files, servicenow.linked.http, servicenow.linked.link, replace(intent, **change), None
    )
    found = await attempt.make()
    assert isinstance(found, PermanentFailure)
    assert found.reason.startswith(why)


async def test_only_the_configured_host_is_ever_called(system: System) -> None:
    link = replace(system.linked.link, config={**system.linked.link.config, "base_url": "https://evil.example"})
    for call in (
        system.files.list_files(system.linked.http, link, system.ticket),
        system.files.download(system.linked.http, link, "1", MOST),
        system.files.upload(system.linked.http, link, system.ticket, Upload("a", "text/plain", b"a")),
    ):
        found = await call
        assert isinstance(found, PermanentFailure)
        assert found.reason.startswith("refused address")


async def test_jira_is_never_followed_to_another_host(jira: System) -> None:
    id_ = jira.by_hand("a.txt", b"a")
    site = f"{jira.linked.served.url}/rest/api/3/attachment/content/{id_}"
    assert site.startswith("http://127.0.0.1")
    client = ProviderHttp(allow_loopback=True)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        path = f"/rest/api/3/attachment/content/{id_}"
        answer = await client.call("GET", jira.linked.served.url, path, frozenset(), headers, most=10)
    finally:
        await client.close()
    assert getattr(answer, "status", 0) == 303, "the fake redirects where it is not told otherwise"


async def test_a_link_of_jira_is_replaced_and_of_servicenow_a_note(servicenow: System, jira: System) -> None:
    changes = {"link_id": "l1", "url": "https://a.example/", "title": "A"}
    request = TicketRequest("key-1", changes, text="A\nhttps://a.example/")
    for system in (servicenow, jira):
        tickets = system.linked.tickets
        for number in (1, 2):
            intent = Intent(
                "i", "inc", system.name, "int_1", "ticket_refer", system.ticket, "i", "e", 1,
                payload=request.payload(),
            )  # fmt: skip
            done = await TicketAttempt(tickets, system.linked.http, system.linked.link, intent, number).make()
            assert isinstance(done, TicketReport)
    [issue] = jira.linked.effects()["tickets"].values()
    [link] = issue["remotelinks"].values()
    assert (link["globalId"], link["object"]) == (
        "system=incidents&id=l1", {"url": "https://a.example/", "title": "A"},
    )  # fmt: skip
    assert servicenow.linked.effects()["effects"]["work_notes"] == 1


async def test_a_ticket_gets_the_incidents_own_address_once(servicenow: System, jira: System) -> None:
    for system in (servicenow, jira):
        tickets, http, link = system.linked.tickets, system.linked.http, system.linked.link
        payload = {"number": "7", **TicketRequest("inc-5b1c6c0e-int_1").payload()}
        intent = Intent("i", "inc-id", system.name, "int_1", "ticket_link", system.ticket, "i", "e", 1, payload=payload)
        for number in (1, 2):
            done = await TicketAttempt(tickets, http, link, intent, number, "https://s.example/{key}/{id}").make()
            assert isinstance(done, TicketReport)
            assert done.ticket == await system.linked.read(system.ticket), "what it is after that"
        await TicketAttempt(tickets, http, link, intent, 3).make()
    [issue] = jira.linked.effects()["tickets"].values()
    [shown] = issue["remotelinks"].values()
    assert shown["object"] == {"url": "https://s.example/INC-7/inc-id", "title": "INC-7"}
    assert servicenow.linked.effects()["effects"]["work_notes"] == 1


async def test_an_address_that_cannot_be_put_there_leaves_the_ticket_linked(jira: System) -> None:
    payload = {"number": "7", **TicketRequest("inc-5b1c6c0e-int_1").payload()}
    intent = Intent("i", "inc-id", "jira", "int_1", "ticket_link", jira.ticket, "i", "e", 1, payload=payload)
    attempt = TicketAttempt(
        jira.linked.tickets, jira.linked.http, jira.linked.link, intent, 1, "https://s.example/{key}"
    )
    await jira.linked.fault(kind="status", status=403, on="link")
    done = await attempt.make()
    assert isinstance(done, TicketReport)
    assert done.detail.startswith("INC-7 could not be linked from it: HTTP 403")
    await jira.linked.fault(kind="status", status=503, on="link")
    assert isinstance(await attempt.make(), TransientFailure)


async def test_polls_see_new_files(servicenow: System, jira: System, clock: Clock) -> None:
    clock.now += 10
    since = Cursor(int(clock.now) * 1000)
    unlinked = await servicenow.linked.create("", short_description="not linked")
    ids = {system.name: system.by_hand("a.txt", b"a") for system in (servicenow, jira)}
    await servicenow.files.upload(
        servicenow.linked.http, servicenow.linked.link, unlinked.external_id, Upload("b", "text/plain", b"b")
    )
    for system, complete in ((servicenow, False), (jira, True)):
        page = await system.linked.tickets.list_changed(system.linked.http, system.linked.link, since, 100)
        assert isinstance(page, Page), page
        [seen] = page.files
        assert replace(seen, at=0) == FilesSeen(system.ticket, (ids[system.name],), complete)
        assert bool(seen.at) == complete
    await servicenow.linked.fault(kind="status", status=403, on="files")
    page = await servicenow.linked.tickets.list_changed(servicenow.linked.http, servicenow.linked.link, since, 100)
    assert isinstance(page, Page), "an account that may not see files sees the tickets"
    assert (len(page.tickets), list(page.files)) == (0, [])
    await servicenow.linked.fault(kind="status", status=503, on="files")
    failed = await servicenow.linked.tickets.list_changed(servicenow.linked.http, servicenow.linked.link, since, 100)
    assert isinstance(failed, TransientFailure), "what passes by itself is read again"
    off = replace(servicenow.linked.link, config={**servicenow.linked.link.config, "poll_files": False})
    page = await servicenow.linked.tickets.list_changed(servicenow.linked.http, off, since, 100)
    assert isinstance(page, Page)
    assert list(page.files) == []
