"""The Jira fake has the semantics that make a sync hard (connectors' documentation, "Jira")."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.fakes.jira import page
from infra.fakes.jira.access import Access
from infra.fakes.jira.app import FakeJira
from infra.fakes.store import Store
from tests.fakes.clock import Clock
from tests.harness.serving import serving

API = "/rest/api/3"


class Bench:
    """The fake, its clock and a client that authenticates."""

    def __init__(self, fake: FakeJira, clock: Clock, client: httpx.AsyncClient) -> None:
        self.fake, self.clock, self.client = fake, clock, client

    async def create(self, summary: str = "Disk full", **fields: Any) -> str:
        document = {"project": {"key": "OPS"}, "issuetype": {"name": "Incident"}, "summary": summary, **fields}
        answer = await self.client.post(f"{API}/issue", json={"fields": document})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    async def fields(self, key: str) -> dict[str, Any]:
        return dict((await self.client.get(f"{API}/issue/{key}")).json()["fields"])

    async def move(self, key: str, transition: str, **fields: Any) -> httpx.Response:
        document = {"transition": {"id": transition}, "fields": fields}
        return await self.client.post(f"{API}/issue/{key}/transitions", json=document)

    async def search(self, jql: str, **more: Any) -> httpx.Response:
        return await self.client.post(f"{API}/search/jql", json={"jql": jql, "fields": ["summary"], **more})


def client(fake: FakeJira) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(fake.app())
    return httpx.AsyncClient(transport=transport, base_url="http://fake", auth=("me@x", "token"), trust_env=False)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = Clock()
    fake = FakeJira(Store(), Access("me@x", "token", clock), lag_s=2.0, clock=clock)
    async with client(fake) as opened:
        yield Bench(fake, clock, opened)


async def test_an_issue_has_a_time_but_no_version(bench: Bench) -> None:
    key = await bench.create(priority={"name": "High"}, labels=["incidents-1"])
    answer = await bench.client.get(f"{API}/issue/{key}")
    assert answer.json()["key"] == key == "OPS-1"
    assert answer.json()["fields"]["updated"] == "2026-11-22T10:00:00.250+0000"
    assert answer.json()["fields"]["priority"] == {"id": "2", "name": "High"}
    assert "etag" not in answer.headers


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"summary": ""}, "summary"),
        ({"summary": "a\nb"}, "summary"),
        ({"description": "plain"}, "description"),
        ({"priority": {"name": "Urgent"}}, "priority"),
        ({"labels": ["a b"]}, "labels"),
        ({"status": {"name": "Done"}}, "status"),
        ({"assignee": {"accountId": "nobody"}}, "assignee"),
        ({"project": {"key": "NOPE"}}, "project"),
    ],
)
async def test_what_cannot_be_set_is_named(bench: Bench, fields: dict[str, Any], named: str) -> None:
    document = {"project": {"key": "OPS"}, "issuetype": {"name": "Incident"}, "summary": "x", **fields}
    answer = await bench.client.post(f"{API}/issue", json={"fields": document})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [named]


async def test_edits_are_in_the_changelog_and_empty_ones_only_move_the_clock(bench: Bench) -> None:
    key = await bench.create()
    bench.clock.now += 1
    edit = {"fields": {"summary": "Disk is full"}, "update": {"labels": [{"add": "l1"}, {"remove": "none"}]}}
    assert (await bench.client.put(f"{API}/issue/{key}", json=edit)).status_code == 204
    bench.clock.now += 1
    assert (await bench.client.put(f"{API}/issue/{key}", json=edit)).status_code == 204
    assert (await bench.fields(key))["updated"] == "2026-11-22T10:00:02.250+0000"
    log = (await bench.client.get(f"{API}/issue/{key}/changelog")).json()
    assert (log["total"], log["isLast"], len(log["values"])) == (1, True, 1)
    items = {item["field"]: (item["fromString"], item["toString"]) for item in log["values"][0]["items"]}
    assert items == {"summary": ("Disk full", "Disk is full"), "labels": ("", "l1")}


async def test_transitions_depend_on_the_status_and_their_screens(bench: Bench) -> None:
    key = await bench.create()
    assert (await bench.move(key, "31", resolution={"name": "Done"})).status_code == 400
    assert (await bench.move(key, "11")).status_code == 204
    offered = (await bench.client.get(f"{API}/issue/{key}/transitions")).json()["transitions"]
    assert {one["id"]: one["to"]["statusCategory"]["key"] for one in offered}["31"] == "done"
    refused = await bench.move(key, "31")
    assert refused.json()["errors"] == {"resolution": "Resolution is required."}
    assert (await bench.move(key, "31", resolution={"name": "Done"})).status_code == 204
    assert (await bench.fields(key))["resolution"] == {"name": "Done"}
    assert (await bench.move(key, "61")).status_code == 204
    assert (await bench.fields(key))["resolution"] is None


async def test_comments_are_documents_and_add_up(bench: Bench) -> None:
    key = await bench.create()
    assert (await bench.client.post(f"{API}/issue/{key}/comment", json={"body": "plain"})).status_code == 400
    for _ in range(2):
        answer = await bench.client.post(f"{API}/issue/{key}/comment", json={"body": page.document("hello")})
        assert answer.status_code == 201
    found = (await bench.client.get(f"{API}/issue/{key}/comment", params={"orderBy": "-created"})).json()
    assert [one["id"] for one in found["comments"]] == ["20002", "20001"]


async def test_search_lags_behind(bench: Bench) -> None:
    key = await bench.create(labels=["incidents-1"])
    assert (await bench.search('labels = "incidents-1"')).json()["issues"] == []
    bench.clock.now += 2
    found = (await bench.search('labels = "incidents-1"')).json()
    assert [(one["key"], one["fields"]) for one in found["issues"]] == [(key, {"summary": "Disk full"})]
    await bench.client.put(f"{API}/issue/{key}", json={"fields": {"labels": []}})
    assert len((await bench.search('labels = "incidents-1"')).json()["issues"]) == 1  # still found by what it was
    bench.clock.now += 2
    assert (await bench.search('labels = "incidents-1"')).json()["issues"] == []


async def test_search_pages_in_order_and_names_what_it_does_not_know(bench: Bench) -> None:
    keys = [await bench.create(f"n{place}") for place in range(5)]
    bench.clock.now += 90
    await bench.client.put(f"{API}/issue/{keys[0]}", json={"fields": {"summary": "again"}})
    bench.clock.now += 2
    jql = 'project = "OPS" AND updated >= "-5m" ORDER BY updated ASC, key ASC'
    first = (await bench.search(jql, maxResults=3)).json()
    second = (await bench.search(jql, maxResults=3, nextPageToken=first["nextPageToken"])).json()
    assert [one["key"] for one in first["issues"] + second["issues"]] == [*keys[1:], keys[0]]
    assert (first["isLast"], second["isLast"], "nextPageToken" in second) == (False, True, False)
    assert len((await bench.search('updated >= "-1m"')).json()["issues"]) == 1
    assert len((await bench.search("key in (OPS-2, OPS-3)")).json()["issues"]) == 2
    for jql in ("", "nonsense = 1", 'updated >= "2026-11-22T10:00:00Z"'):
        assert (await bench.search(jql)).status_code == 400
    assert (await bench.client.get(f"{API}/search")).status_code == 410


async def test_a_deleted_issue_is_gone(bench: Bench) -> None:
    key = await bench.create()
    assert (await bench.client.delete(f"{API}/issue/{key}")).status_code == 204
    answer = await bench.client.get(f"{API}/issue/{key}")
    assert answer.status_code == 404
    assert "do not have permission" in answer.json()["errorMessages"][0]


async def test_a_remote_link_is_replaced_by_its_id(bench: Bench) -> None:
    key = await bench.create()
    link = {"globalId": "inc-1", "object": {"url": "https://x.example/1", "title": "INC-1"}}
    first, second = [(await bench.client.post(f"{API}/issue/{key}/remotelink", json=link)).json() for _ in range(2)]
    assert first["id"] == second["id"]


async def test_writes_to_one_issue_are_limited(bench: Bench) -> None:
    key, other = await bench.create(), await bench.create()
    edit = {"fields": {"summary": "x"}}
    statuses = [(await bench.client.put(f"{API}/issue/{key}", json=edit)).status_code for _ in range(21)]
    assert statuses == [204] * 20 + [429]
    refused = await bench.client.put(f"{API}/issue/{key}", json=edit)
    assert (refused.headers["ratelimit-reason"], refused.headers["retry-after"]) == ("jira-per-issue-on-write", "2")
    assert (await bench.client.put(f"{API}/issue/{other}", json=edit)).status_code == 204
    assert (await bench.client.get(f"{API}/issue/{key}")).status_code == 200
    bench.clock.now += 2
    assert (await bench.client.put(f"{API}/issue/{key}", json=edit)).status_code == 204


async def test_bursts_are_limited_and_strangers_refused() -> None:
    clock = Clock()
    fake = FakeJira(Store(), Access("me@x", "token", clock, burst=(2, 1.0)), clock=clock)
    async with client(fake) as opened:
        assert [(await opened.get(f"{API}/myself")).status_code for _ in range(3)] == [200, 200, 429]
        opened.auth = ("me@x", "wrong")
        assert (await opened.get(f"{API}/myself")).status_code == 401


async def test_it_remembers(tmp_path: Path) -> None:
    clock = Clock()
    first = FakeJira(Store(tmp_path / "j.sqlite"), Access("me@x", "token", clock), clock=clock)
    async with client(first) as opened:
        await Bench(first, clock, opened).create(labels=["incidents-1"])
    again = FakeJira(Store(tmp_path / "j.sqlite"), Access("me@x", "token", clock), clock=clock)
    assert again.effects()["tickets_by_marker"] == {"incidents-1": 1}
    assert (again.effects()["effects"], again.effects()["writes"]) == ({"created": 1}, 1)


async def test_the_page_edits_by_hand(bench: Bench) -> None:
    key = await bench.create("<b>x</b>")
    shown = await bench.client.get("/")
    assert "&lt;b&gt;x&lt;/b&gt;" in shown.text
    assert "<b>x</b>" not in shown.text
    form = {"priority": "1", "transition": "11", "comment": "looking"}
    assert (await bench.client.post(f"/_page/{key}", data=form)).status_code == 303
    fields = await bench.fields(key)
    assert (fields["priority"]["name"], fields["status"]["name"]) == ("Highest", "In Progress")
    assert (await bench.client.post(f"/_page/{key}", data={"summary": ""})).status_code == 400


async def test_webhooks_are_signed_retried_and_tell_a_comment_twice() -> None:
    got: list[tuple[dict[str, Any], bytes, httpx.Headers]] = []
    statuses = [503]

    async def take(request: Request) -> Response:
        body = await request.body()
        if statuses:
            return Response(status_code=statuses.pop())
        got.append((json.loads(body), body, httpx.Headers(request.headers.raw)))
        return Response(status_code=202)

    clock = Clock()
    fake = FakeJira(Store(), Access("me@x", "token", clock), clock=clock)
    fake.webhooks._retry_s = (0.05,)
    async with serving(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as served, client(fake) as opened:
        await opened.post("/_webhook", json={"url": f"{served.url}/hook", "secret": "s3"})
        bench = Bench(fake, clock, opened)
        key = await bench.create()
        await asyncio.wait_for(fake.webhooks.settled(), 10)
        await opened.put(f"{API}/issue/{key}", json={"fields": {"summary": "y"}})
        await opened.post(f"{API}/issue/{key}/comment", json={"body": page.document("hello")})
        await opened.delete(f"{API}/issue/{key}")
        await asyncio.wait_for(fake.webhooks.settled(), 10)
    assert sorted(body["webhookEvent"] for body, _, _ in got) == [
        "comment_created",
        "jira:issue_created",
        "jira:issue_deleted",
        "jira:issue_updated",
        "jira:issue_updated",
    ]
    edited = next(body for body, _, _ in got if body.get("issue_event_type_name") == "issue_updated")
    assert edited["changelog"]["items"][0]["toString"] == "y"
    for _, raw, headers in got:
        assert headers["x-hub-signature"] == "sha256=" + hmac.new(b"s3", raw, hashlib.sha256).hexdigest()
    assert len({headers["x-atlassian-webhook-identifier"] for _, _, headers in got}) == len(got)


async def test_files_need_a_header_that_no_browser_sends_and_change_their_issue(bench: Bench) -> None:
    key = await bench.create()
    before = (await bench.fields(key))["updated"]
    bench.clock.now += 1
    path, sent = f"{API}/issue/{key}/attachments", {"file": ("a.txt", b"\r\n--x", "text/plain")}
    assert (await bench.client.post(path, files=sent)).status_code == 403
    checked = {"X-Atlassian-Token": "no-check"}
    assert (await bench.client.post(path, content=b"x", headers=checked)).status_code == 400
    for _ in range(2):
        [made] = (await bench.client.post(path, files=sent, headers=checked)).json()
    shown = await bench.fields(key)
    assert [one["filename"] for one in shown["attachment"]] == ["a.txt", "a.txt"], "each upload is another file"
    assert shown["updated"] > before
    content = f"{API}/attachment/content/{made['id']}"
    assert (await bench.client.get(content)).headers["location"].startswith("https://api.media.example/")
    assert (await bench.client.get(content, params={"redirect": "false"})).content == b"\r\n--x"
    assert (await bench.client.delete(f"{API}/attachment/{made['id']}")).status_code == 204
    assert (await bench.client.get(content)).status_code == 404
    assert len((await bench.fields(key))["attachment"]) == 1


async def test_files_are_there_again_after_a_restart_and_on_the_page(tmp_path: Path) -> None:
    clock = Clock()
    for round_ in range(2):
        fake = FakeJira(Store(tmp_path / "jira.db"), Access("me@x", "token", clock), clock=clock, lag_s=0.0)
        async with client(fake) as jira:
            if not round_:
                made = Bench(fake, clock, jira)
                key = await made.create()
                form = {"file_name": "trace.txt", "file_text": "by hand"}
                assert (await jira.post(f"/_page/{key}", data=form)).status_code == 303
            [file] = (await jira.get("/_effects")).json()["files"]
            content = f"{API}/attachment/content/{file['id']}"
            assert (await jira.get(content, params={"redirect": "false"})).content == b"by hand"
            assert "trace.txt, 7 bytes" in (await jira.get("/")).text
