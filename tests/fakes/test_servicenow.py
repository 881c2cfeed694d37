"""The ServiceNow fake has the semantics that make a sync hard (connectors' documentation, "ServiceNow")."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.fakes.servicenow import fields
from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.store import Store
from tests.fakes.clock import Clock
from tests.harness.serving import serving

TABLE = "/api/now/table/incident"


class Bench:
    """The fake, its clock and a client that authenticates."""

    def __init__(self, fake: FakeServiceNow, clock: Clock, client: httpx.AsyncClient) -> None:
        self.fake, self.clock, self.client = fake, clock, client

    async def create(self, **values: str) -> dict[str, Any]:
        answer = await self.client.post(TABLE, json=values)
        assert answer.status_code == 201
        assert answer.headers["location"].endswith(answer.json()["result"]["sys_id"])
        return dict(answer.json()["result"])

    async def patch(self, sys_id: str, **values: str) -> httpx.Response:
        return await self.client.patch(f"{TABLE}/{sys_id}", json=values)

    async def query(self, text: str, **parameters: str) -> list[dict[str, Any]]:
        answer = await self.client.get(TABLE, params={"sysparm_query": text, **parameters})
        assert answer.status_code == 200
        return list(answer.json()["result"])


def client(fake: FakeServiceNow) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(fake.app())
    return httpx.AsyncClient(
        transport=transport, base_url="http://fake", auth=("incidents", "servicenow-secret"), trust_env=False
    )


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = Clock()
    fake = FakeServiceNow(Store(), clock=clock)
    async with client(fake) as opened:
        yield Bench(fake, clock, opened)


async def test_values_are_texts_and_priority_is_computed(bench: Bench) -> None:
    made = await bench.create(short_description="Disk full", impact="1", urgency="2", priority="5", nonsense="x")
    assert made["number"] == "INC0010001"
    assert (made["priority"], made["state"], made["sys_mod_count"]) == ("2", "1", "0")
    assert made["sys_updated_on"] == "2026-11-22 10:00:00"
    assert made["assigned_to"] == ""
    assert "nonsense" not in made


async def test_a_write_that_changes_nothing_leaves_the_count(bench: Bench) -> None:
    made = await bench.create(short_description="Disk full")
    same = await bench.patch(made["sys_id"], short_description="Disk full", priority="1", state="nonsense")
    assert same.json()["result"]["sys_mod_count"] == "0"
    changed = (await bench.patch(made["sys_id"], urgency="1", sys_mod_count="40")).json()["result"]
    assert (changed["sys_mod_count"], changed["priority"], changed["sys_updated_by"]) == ("1", "3", "incidents")


async def test_display_and_raw_values_differ(bench: Bench) -> None:
    beth = fields.sys_id("sys_user", "Beth Anglin")
    made = await bench.create(short_description="x", urgency="1", assigned_to=beth)
    path = f"{TABLE}/{made['sys_id']}"
    shown = [
        (await bench.client.get(path, params={"sysparm_display_value": mode})).json()["result"]
        for mode in ("false", "true", "all")
    ]
    assert [one["urgency"] for one in shown] == ["1", "1 - High", {"display_value": "1 - High", "value": "1"}]
    assert shown[0]["assigned_to"] == {"link": f"http://fake/api/now/table/sys_user/{beth}", "value": beth}
    assert shown[1]["assigned_to"]["display_value"] == "Beth Anglin"
    flat = await bench.client.get(
        path, params={"sysparm_exclude_reference_link": "true", "sysparm_fields": "assigned_to"}
    )
    assert flat.json()["result"] == {"assigned_to": beth}
    parameters = {"sysparm_input_display_value": "true"}
    answer = await bench.client.patch(path, params=parameters, json={"urgency": "3 - Low", "assigned_to": "Abel Tuter"})
    assert answer.json()["result"]["urgency"] == "3"
    assert answer.json()["result"]["assigned_to"]["value"] == fields.sys_id("sys_user", "Abel Tuter")


async def test_resolving_needs_a_code_and_notes(bench: Bench) -> None:
    made = await bench.create(short_description="x")
    refused = await bench.patch(made["sys_id"], state="6", close_code="Solved (Permanently)")
    assert refused.status_code == 403
    assert refused.json()["status"] == "failure"
    assert "Resolution notes" in refused.json()["error"]["detail"]
    resolved = (await bench.patch(made["sys_id"], state="6", close_code="Solved", close_notes="restarted")).json()
    assert resolved["result"]["resolved_at"]
    assert (await bench.patch(made["sys_id"], state="2")).json()["result"]["resolved_at"] == ""


async def test_a_closed_record_ignores_writes_in_silence(bench: Bench) -> None:
    made = await bench.create(short_description="x", state="7", close_code="Solved", close_notes="done")
    answer = await bench.patch(made["sys_id"], state="2", short_description="reopened")
    assert answer.status_code == 200
    assert answer.json()["result"] == made


async def test_journals_are_written_and_never_shown_as_values(bench: Bench) -> None:
    made = await bench.create(short_description="x", work_notes="first")
    assert made["work_notes"] == ""
    noted = (await bench.patch(made["sys_id"], work_notes="second", comments="hello")).json()["result"]
    assert (noted["work_notes"], noted["comments"], noted["sys_mod_count"]) == ("", "", "1")
    query = {"sysparm_query": f"element_id={made['sys_id']}^element=work_notes^ORDERBYsys_created_on"}
    entries = (await bench.client.get("/api/now/table/sys_journal_field", params=query)).json()["result"]
    assert [entry["value"] for entry in entries] == ["first", "second"]
    shown = await bench.client.get(f"{TABLE}/{made['sys_id']}", params={"sysparm_display_value": "true"})
    assert shown.json()["result"]["work_notes"].index("second") < shown.json()["result"]["work_notes"].index("first")


async def test_a_business_rule_rewrites_what_was_written(bench: Bench) -> None:
    await bench.client.post("/_rules", json={"rules": [{"field": "urgency", "value": "1", "becomes": "2"}]})
    made = await bench.create(short_description="  Disk \n full  " + "x" * 200, urgency="1")
    assert made["urgency"] == "2"
    assert made["short_description"].startswith("Disk full x")
    assert len(made["short_description"]) == 160


async def test_queries_with_keyset_and_their_tolerance(bench: Bench) -> None:
    made = []
    for place in range(5):
        made.append(await bench.create(short_description=f"n{place}", correlation_id=f"inc-{place % 2}"))
        bench.clock.now += place % 2  # pairs within one second
    ids = sorted((one["sys_updated_on"], one["sys_id"]) for one in made)
    at, id_ = ids[1]
    query = f"sys_updated_on>{at}^NQsys_updated_on={at}^sys_id>{id_}^ORDERBYsys_updated_on^ORDERBYsys_id"
    found = await bench.query(query, sysparm_limit="2")
    assert [(one["sys_updated_on"], one["sys_id"]) for one in found] == ids[2:4]
    assert len(await bench.query("correlation_id=inc-0")) == 3
    assert len(await bench.query("short_description=n1^ORshort_description=n2^correlation_id=inc-0")) == 1
    assert len(await bench.query("correlationid=inc-0")) == 5  # mistyped: everything
    bench.fake._strict = True
    assert await bench.query("correlationid=inc-0") == []
    assert len(await bench.query("short_descriptionSTARTSWITHn^short_description!=n4")) == 4


async def test_a_deleted_record_leaves_a_trace(bench: Bench) -> None:
    made = await bench.create(short_description="x")
    assert (await bench.client.delete(f"{TABLE}/{made['sys_id']}")).status_code == 204
    gone = await bench.client.get(f"{TABLE}/{made['sys_id']}")
    assert (gone.status_code, gone.json()["error"]["message"]) == (404, "No Record found")
    trace = (await bench.client.get("/api/now/table/sys_audit_delete")).json()["result"]
    assert [one["documentkey"] for one in trace] == [made["sys_id"]]


async def test_who_may_call(bench: Bench) -> None:
    bench.client.auth = httpx.Auth()
    assert (await bench.client.get(TABLE)).status_code == 401
    form = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "servicenow-secret"}
    token = (await bench.client.post("/oauth_token.do", data=form)).json()
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert (await bench.client.get(TABLE, headers=bearer)).status_code == 200
    bench.clock.now += token["expires_in"]
    assert (await bench.client.get(TABLE, headers=bearer)).status_code == 401
    assert (await bench.client.post("/oauth_token.do", data={**form, "client_secret": "no"})).status_code == 401


async def test_the_rate_limit_says_when_to_come_back() -> None:
    clock = Clock()
    async with client(FakeServiceNow(Store(), limit_per_hour=2, clock=clock)) as opened:
        assert [(await opened.get(TABLE)).status_code for _ in range(3)] == [200, 200, 429]
        refused = await opened.get(TABLE)
        assert refused.headers["retry-after"] == "3601"
        assert refused.headers["x-ratelimit-limit"] == "2"
        assert int(refused.headers["x-ratelimit-reset"]) == int(clock.now) + 3_601
        clock.now += 3_600
        assert (await opened.get(TABLE)).status_code == 200


async def test_faults_for_one_kind_of_call(bench: Bench) -> None:
    await bench.client.post("/_faults", json={"kind": "status", "status": 503, "on": "create"})
    assert (await bench.client.get(TABLE)).status_code == 200
    assert (await bench.client.post(TABLE, json={"short_description": "x"})).status_code == 503
    assert (await bench.client.get("/_effects")).json()["effects"] == {}


async def test_it_remembers(tmp_path: Path) -> None:
    async with client(FakeServiceNow(Store(tmp_path / "s.sqlite"))) as opened:
        await opened.post(TABLE, json={"short_description": "x", "correlation_id": "inc-1"})
    again = FakeServiceNow(Store(tmp_path / "s.sqlite"))
    assert again.effects()["tickets_by_marker"] == {"inc-1": 1}
    assert again.effects()["effects"] == {"created": 1}
    assert again.effects()["writes"] == 1


async def test_the_page_edits_by_hand(bench: Bench) -> None:
    made = await bench.create(short_description="<b>x</b>")
    page = await bench.client.get("/")
    assert "&lt;b&gt;x&lt;/b&gt;" in page.text
    assert "<b>x</b>" not in page.text
    path = f"/_page/{made['sys_id']}"
    assert (await bench.client.post(path, data={"urgency": "1", "work_notes": ""})).status_code == 303
    record = bench.fake.table.get(made["sys_id"])
    assert (record["urgency"], record["sys_updated_by"]) == ("1", "admin")
    refused = await bench.client.post(path, data={"state": "6"})
    assert refused.status_code == 403
    assert "mandatory" in refused.text


async def test_webhooks_are_signed_lost_doubled_and_late() -> None:
    got: list[Request] = []

    async def take(request: Request) -> Response:
        await request.body()
        got.append(request)
        return Response(status_code=202)

    fake = FakeServiceNow(Store())
    async with serving(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as served, client(fake) as opened:
        await opened.post("/_webhook", json={"url": f"{served.url}/hook", "secret": "s3"})
        for fault in ({"kind": "loss"}, {"kind": "duplicate"}, {"kind": "delay", "seconds": 0.2}):
            await opened.post("/_webhook_faults", json=fault)
        for title in ("lost", "twice", "late", "plain"):
            await opened.post(TABLE, json={"short_description": title})
        await asyncio.wait_for(fake.webhooks.settled(), 10)
    titles = [(await request.json())["record"]["short_description"] for request in got]
    assert sorted(titles) == ["late", "plain", "twice", "twice"]
    assert titles[-1] == "late"
    for request in got:
        stamp = request.headers["x-incidents-timestamp"]
        mac = hmac.new(b"s3", stamp.encode() + b"." + await request.body(), hashlib.sha256).digest()
        assert request.headers["x-incidents-signature"] == f"v1={base64.b64encode(mac).decode()}"
    assert fake.effects()["webhooks"] == {"lost": 1, "delivered": 4}


async def test_a_file_is_no_change_of_its_record_and_there_again_after_a_restart(tmp_path: Path) -> None:
    about = {"table_name": "incident", "file_name": "core.txt"}
    text = {"Content-Type": "text/plain"}
    made: dict[str, Any] = {}
    for round_ in range(2):
        fake = FakeServiceNow(Store(tmp_path / "servicenow.db"), clock=Clock())
        async with client(fake) as instance:
            if not round_:
                made = await Bench(fake, Clock(), instance).create(short_description="x")
                about["table_sys_id"] = made["sys_id"]
                path = "/api/now/attachment/file"
                answer = await instance.post(path, params=about, content=b"core", headers=text)
                assert (answer.status_code, answer.json()["result"]["size_bytes"]) == (201, "4")
                for wrong in ({"file_name": "run.exe"}, {"file_name": ""}):
                    refused = await instance.post(path, params={**about, **wrong}, content=b"x", headers=text)
                    assert refused.status_code == 400
                nobody = await instance.post(path, params={**about, "table_sys_id": "?"}, content=b"x", headers=text)
                assert nobody.status_code == 404
            query = {"sysparm_query": f"table_name=incident^table_sys_id={made['sys_id']}"}
            [file] = (await instance.get("/api/now/attachment", params=query)).json()["result"]
            assert file["hash"] == hashlib.sha256(b"core").hexdigest()
            assert (await instance.get(f"/api/now/attachment/{file['sys_id']}/file")).content == b"core"
            assert fake.table.get(made["sys_id"])["sys_mod_count"] == "0"
            assert "core.txt, 4 bytes" in (await instance.get("/")).text
            if round_:
                assert (await instance.delete(f"/api/now/attachment/{file['sys_id']}")).status_code == 204
                assert (await instance.get(f"/api/now/attachment/{file['sys_id']}/file")).status_code == 404
