"""Jira: REST API v3 against the running fake."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from connectors.jira import searching
from connectors.jira.client import JiraTickets
from connectors.jira.config import JiraConfig
from connectors.jira.documents import document
from connectors.jira.transitions import choose, screen
from connectors.kit.contract import Secret
from connectors.kit.http import ProviderHttp
from connectors.kit.markers import marker
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Page
from infra.fakes.jira import fields as people
from infra.fakes.jira.access import Access
from infra.fakes.jira.app import FakeJira
from infra.fakes.store import Store
from tests.connectors.ticket_system import MARKER, TOKEN, Linked, linked, ticket
from tests.fakes.clock import Clock

CONFIG = {"email": "me@x", "project": "OPS"}
SETTINGS = JiraConfig(base_url="https://acme.atlassian.net", project="OPS", extra_fields={"customfield_1": "option"})
MIA = next(iter(people.PEOPLE))


@pytest.fixture
def clock() -> Clock:
    found = Clock()
    found.now = float(int(time.time()))  # a query asks for the last so many minutes by our own clock
    return found


@pytest.fixture
def fake(clock: Clock) -> FakeJira:
    return FakeJira(Store(), Access("me@x", TOKEN, clock, burst=(0, 1.0)), lag_s=2.0, clock=clock)


@pytest.fixture
async def system(fake: FakeJira) -> AsyncIterator[Linked]:
    async with linked("jira", JiraTickets(), fake.app(), fake.effects, CONFIG) as found:
        yield found


async def test_create_puts_the_marker_on_and_moves_on(system: Linked) -> None:
    made = await system.create(summary="Disk full", priority="High", description="two\nlines", status_category="done")
    assert (made.external_key, made.marker) == ("OPS-1", MARKER)
    assert made.version == made.updated_at > 0
    assert made.fields["description"] == "two\nlines"
    assert (made.fields["status"], made.fields["resolution"]) == ("Resolved", "Done")  # over In Progress
    assert system.effects()["effects"] == {"created": 1, "transitioned": 2}


async def test_an_issue_too_new_for_search_is_found_by_its_key(system: Linked, clock: Clock, fake: FakeJira) -> None:
    await system.fault(kind="drop_after", on="create")
    lost = await system.tickets.create(system.http, system.link, MARKER, {"summary": "x"})
    assert isinstance(lost, TransientFailure)
    assert fake.index.find(f'labels = "{MARKER}"') == []
    found = await system.tickets.find(system.http, system.link, MARKER)
    assert isinstance(found, list)
    assert [one.external_key for one in found] == ["OPS-1"]
    clock.now += 5
    assert len(fake.index.find(f'labels = "{MARKER}"')) == 1
    again = await system.tickets.find(system.http, system.link, MARKER)
    assert again == found
    await system.create(summary="a copy with the same marker")
    both = await system.tickets.find(system.http, system.link, MARKER)
    assert isinstance(both, list)
    assert [one.external_key for one in both] == ["OPS-1", "OPS-2"]
    assert await system.tickets.find(system.http, system.link, "inc-other-int_1") == []


async def test_writes_edit_and_follow_the_workflow(system: Linked, clock: Clock) -> None:
    made = await system.create(summary="x")
    clock.now += 1
    done = await system.write(made.external_id, summary="y", priority="Low", status_category="done")
    assert (done.fields["summary"], done.fields["priority"], done.fields["status"]) == ("y", "Low", "Resolved")
    assert done.version > made.version
    assert (await system.write(made.external_id, status="closed")).fields["status"] == "Closed"
    writes = system.effects()["writes"]
    assert (await system.write(made.external_id, status_category="done")).fields["status"] == "Closed"
    assert system.effects()["writes"] == writes  # it was there
    back = await system.write(made.external_id, status_category="new")
    assert (back.fields["status"], back.fields["resolution"]) == ("To Do", "")
    refused = await system.tickets.write(system.http, system.link, made.external_id, {"status": "Nirvana"})
    assert isinstance(refused, PermanentFailure)
    assert "not to 'Nirvana'" in refused.reason


def test_screens_are_filled_from_the_changes_or_the_configuration() -> None:
    step = {
        "id": "1",
        "name": "Resolve",
        "fields": {"resolution": {"required": True}, "customfield_9": {"required": True}},
    }
    refused = screen(SETTINGS, step, {})
    assert isinstance(refused, PermanentFailure)
    assert "customfield_9" in refused.reason
    filled = SETTINGS.model_copy(update={"transition_fields": {"customfield_9": {"value": "a"}}})
    assert screen(filled, step, {"resolution": "Won't Do"}) == {
        "resolution": {"name": "Won't Do"},
        "customfield_9": {"value": "a"},
    }
    has_default = {"fields": {"customfield_9": {"required": True, "hasDefaultValue": True}}}
    assert screen(SETTINGS, has_default, {}) == {}


def test_a_way_is_not_gone_in_circles() -> None:
    to = {"to": {"name": "Waiting", "statusCategory": {"key": "indeterminate"}}}
    assert choose([to], {"status_category": "done"}, ("To Do", "new"), {"To Do"}) == to
    assert choose([to], {"status_category": "done"}, ("To Do", "new"), {"To Do", "Waiting"}) is None
    assert choose([to], {"status_category": "done"}, ("Doing", "indeterminate"), {"Doing"}) is None


async def test_history_tells_who_changed_what(system: Linked, fake: FakeJira, clock: Clock) -> None:
    made = await system.create(summary="x")
    clock.now += 1
    await system.write(made.external_id, summary="ours", status_category="indeterminate")
    clock.now += 1
    fake.issues.edit("OPS-1", {"fields": {"summary": "theirs", "assignee": {"accountId": MIA}}}, MIA)
    found = await system.tickets.history(system.http, system.link, made.external_id, made.version)
    assert isinstance(found, list)
    assert [(one.field, one.before, one.after, one.ours) for one in found] == [
        ("summary", "x", "ours", True),
        ("status", "To Do", "In Progress", True),
        ("status_category", "new", "indeterminate", True),
        ("summary", "ours", "theirs", False),
        ("assignee", "", MIA, False),
    ]
    assert [one.version for one in found] == sorted(one.version for one in found)
    assert await system.tickets.history(system.http, system.link, made.external_id, found[-1].version) == []
    known = replace(system.link, config={**system.link.config, "account_id": MIA})
    theirs = await system.tickets.history(system.http, known, made.external_id, made.version)
    assert isinstance(theirs, list)
    assert [one.ours for one in theirs] == [False, False, False, True, True]


async def test_what_jira_refuses_is_said_in_its_words(system: Linked) -> None:
    made = await system.create(summary="x")
    wrong: list[tuple[dict[str, str], str]] = [
        ({"priority": "Urgent"}, "priority: The priority selected is invalid."),
        ({"summary": ""}, "summary: You must specify a summary of the issue."),
        ({"assignee": "nobody"}, "assignee: User 'nobody' does not exist."),
        ({"title": "x"}, "not among the followed fields (extra_fields): title"),
    ]
    for changes, words in wrong:
        refused = await system.tickets.write(system.http, system.link, made.external_id, changes)
        assert isinstance(refused, PermanentFailure)
        assert words in refused.reason


async def test_gone_issues(system: Linked) -> None:
    for found in (
        await system.tickets.read(system.http, system.link, "99"),
        await system.tickets.write(system.http, system.link, "99", {"summary": "x"}),
        await system.tickets.mark(system.http, system.link, "99", MARKER),
        await system.tickets.comment(system.http, system.link, "99", "x", public=True),
        await system.tickets.history(system.http, system.link, "99", 0),
        await system.tickets.retire(system.http, system.link, "99", "x"),
    ):
        assert isinstance(found, Gone)
    elsewhere = replace(system.link, config={**system.link.config, "base_url": f"{system.served.url}/nowhere"})
    assert isinstance(await system.tickets.find(system.http, elsewhere, MARKER), PermanentFailure)


async def test_a_comment_is_found_again(system: Linked) -> None:
    made = await system.create(summary="x")
    mark = marker("k-1")
    assert await system.tickets.find_comment(system.http, system.link, made.external_id, mark) == NotFound()
    sent = await system.tickets.comment(system.http, system.link, made.external_id, f"hello\n\n{mark}", public=False)
    assert await system.tickets.find_comment(system.http, system.link, made.external_id, mark) == Found(str(sent))
    await system.fault(kind="status", status=503)
    assert isinstance(await system.tickets.find_comment(system.http, system.link, made.external_id, mark), Unknown)


async def test_a_duplicate_is_retired_once_and_keeps_the_labels_of_others(system: Linked, fake: FakeJira) -> None:
    made = await system.create(summary="x")
    fake.issues.edit("OPS-1", {"update": {"labels": [{"add": "theirs"}]}}, MIA)
    for _ in range(2):
        retired = ticket(await system.tickets.retire(system.http, system.link, made.external_id, "duplicate"))
        assert (retired.fields["resolution"], retired.marker) == ("Duplicate", "")
    assert system.effects()["effects"]["commented"] == 1
    assert fake.issues.get("OPS-1")["fields"]["labels"] == ["theirs"]


async def test_marking_a_ticket_of_somebody_and_taking_it_off(system: Linked, fake: FakeJira) -> None:
    document = {"project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "theirs", "labels": ["theirs"]}
    issue = fake.issues.create({"fields": document}, MIA)
    assert ticket(await system.tickets.mark(system.http, system.link, issue["id"], MARKER)).marker == MARKER
    assert (
        ticket(await system.tickets.mark(system.http, system.link, issue["id"], "inc-2-int_1")).marker == "inc-2-int_1"
    )
    assert ticket(await system.tickets.mark(system.http, system.link, issue["id"], "")).marker == ""
    assert fake.issues.get("OPS-1")["fields"]["labels"] == ["theirs"]


async def test_changes_are_listed_by_pages_without_a_gap(system: Linked, fake: FakeJira, clock: Clock) -> None:
    for place in range(7):
        await system.create(f"inc-{place}-int_1", summary="x")
        clock.now += place % 3 == 2
    plain_issue = {"project": {"key": "OPS"}, "issuetype": {"name": "Task"}, "summary": "not ours"}
    fake.issues.create({"fields": plain_issue}, MIA)
    clock.now += 2
    listed: list[str] = []
    cursor = Cursor(int(clock.now - 60) * 1000)
    while True:
        page = await system.tickets.list_changed(system.http, system.link, cursor, 2)
        assert isinstance(page, Page)
        assert len(page.tickets) <= 2
        listed += [one.external_key for one in page.tickets]
        cursor = page.cursor
        if page.is_last:
            break
    assert listed == [f"OPS-{number}" for number in range(1, 8)]
    fake.issues.comment("OPS-2", document("anybody there?"), MIA)
    clock.now += 2
    page = await system.tickets.list_changed(system.http, system.link, cursor, 10)
    assert isinstance(page, Page)
    assert [one.external_key for one in page.tickets] == ["OPS-2"]
    assert [(note.text, note.author) for note in page.notes] == [("anybody there?", "Mia Krystof")]


async def test_pages_of_search_that_do_not_suffice_are_no_end(
    system: Linked, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_AT_ONCE", 1)
    monkeypatch.setattr(searching, "_MAX_PAGES", 2)
    for place in range(3):
        await system.create(f"inc-{place}-int_1", summary="x")
        clock.now += 1
    clock.now += 2
    begin = Cursor(int(clock.now - 60) * 1000)
    page = await system.tickets.list_changed(system.http, system.link, begin, 10)
    assert isinstance(page, Page)
    assert ([one.external_key for one in page.tickets], page.is_last) == (["OPS-1", "OPS-2"], False)
    stuck = await system.tickets.list_changed(system.http, system.link, page.cursor, 10)
    assert stuck == PermanentFailure("more issues changed in the same minutes than can be read")


async def test_limits_on_one_issue_are_honoured(clock: Clock) -> None:
    strict = FakeJira(Store(), Access("me@x", TOKEN, clock, per_issue=((1, 30.0),)), clock=clock)
    async with linked("jira", JiraTickets(), strict.app(), strict.effects, CONFIG) as system:
        made = await system.create(summary="x")
        await system.write(made.external_id, summary="y")
        refused = await system.tickets.write(system.http, system.link, made.external_id, {"summary": "z"})
        assert refused == TransientFailure("HTTP 429: Rate limit exceeded.", 30.0, throttled=True)


async def test_credentials_that_do_not_do(system: Linked) -> None:
    bearer = replace(system.link, config={**system.link.config, "email": ""})
    assert isinstance(await system.tickets.find(system.http, bearer, MARKER), list)
    found = [
        await system.tickets.find(system.http, replace(bearer, secrets=(Secret("api_token", "no"),)), MARKER),
        await system.tickets.find(system.http, replace(bearer, secrets=()), MARKER),
        await system.tickets.find(ProviderHttp(), bearer, MARKER),
    ]
    assert [one.reason for one in found if isinstance(one, PermanentFailure)] == [
        "HTTP 401: Client must be authenticated to access this resource.",
        "the integration has no api_token",
        "refused address: must begin with https://",
    ]
