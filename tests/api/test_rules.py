"""Rule sets over HTTP: published, promoted, taken back; what-ifs as jobs with progress, bounded and cancelled."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from cli import simulating
from cli.simulating import run_job
from projections import simulations
from projections.connections import Connection, connect
from streams.agents import read_ahead
from streams.agents.recorded import KafkaLog, Log
from streams.runtime.settings import KafkaSettings
from tests.api.conftest import Running, wait_until
from tests.projections.test_row_level_security import tenants_seen

pytestmark = pytest.mark.stack

RULES = (Path(__file__).parents[2] / "docs" / "examples" / "rules.yaml").read_text()
WIDE = "name: wide\nversion: 2\nrules:\n  - {name: all, key: [error_type], window: 10m}\n"
HOLDER = "test"


@pytest.fixture
def operator(running: Running) -> Iterator[Connection]:
    """The simulator's connection; jobs of other tests are gone."""
    with connect(running.backends.database, "projector", name="test", autocommit=True) as connection:
        connection.execute("DELETE FROM ops.simulations")
        yield connection


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client(tenant="rules") as found:
        yield found


def ask(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/what-ifs", json={"rules": WIDE, **more})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/what-ifs/{found['id']}"
    return found


def work(running: Running, operator: Connection, stop: threading.Event | None = None) -> None:
    job = simulations.claim(operator, HOLDER)
    assert job is not None
    run_job(operator, HOLDER, job, partial(_kafka, running.backends.kafka), stop or threading.Event())


def _kafka(settings: KafkaSettings, source: str) -> Log:
    assert source == "log"
    return KafkaLog(settings)


def declare(client: httpx.Client, count: int) -> None:
    batch = [
        {
            "specversion": "1.0", "id": f"w-{n}", "source": "/shop", "type": "com.incidents.signal.v1",
            "data": {"title": "<b>slow</b>", "service": f"s{n}", "error_type": "e"},
        }
        for n in range(count)
    ]  # fmt: skip
    sent = client.post(
        "/api/v1/events", content=orjson.dumps(batch), headers={"content-type": "application/cloudevents-batch+json"}
    )
    assert sent.status_code == 202, sent.text
    wait_until(lambda: len(client.get("/api/v1/incidents").json()["items"]) >= count, "they are decided")


def test_a_what_if_is_asked_for_worked_on_and_read(
    running: Running, client: httpx.Client, operator: Connection
) -> None:
    declare(client, 3)
    found = ask(client)
    assert (found["state"], found["source"], found["actor"][:6]) == ("queued", "log", "token:")
    address = f"/api/v1/what-ifs/{found['id']}"
    waiting = client.get(f"{address}/report")
    assert (waiting.status_code, waiting.json()["code"]) == (409, "no-report")
    work(running, operator)
    done = client.get(address).json()
    assert (done["state"], done["problem"], done["done"]) == ("done", None, done["total"])
    report = client.get(f"{address}/report").json()
    assert report["incidents"] == {"recorded": 3, "simulated": 1}
    assert "3 recorded, 1 simulated" in client.get(f"{address}/report?format=text").text
    page = client.get(f"{address}/report?format=html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<b>slow" not in page.text
    again = ask(client)
    work(running, operator)
    texts = [client.get(f"/api/v1/what-ifs/{one['id']}/report").content for one in (found, again)]
    assert texts[0] == texts[1]
    assert [one["id"] for one in client.get("/api/v1/what-ifs").json()["items"]] == [again["id"], found["id"]]
    assert client.delete(address).status_code == 409


@pytest.mark.parametrize("cancelled", [False, True])
def test_a_job_says_how_far_it_is_while_another_process_reads(
    running: Running, client: httpx.Client, operator: Connection, monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    told: list[tuple[int, int]] = []
    noted = simulations.progress

    def progress(connection: Connection, id_: str, holder: str, done: int, total: int) -> bool:
        told.append((done, total))
        if cancelled:
            client.delete(address)
        return noted(connection, id_, holder, done, total)

    monkeypatch.setattr(simulations, "progress", progress)
    monkeypatch.setattr(simulating, "_SAY_S", 0.0)
    monkeypatch.setattr(read_ahead, "WORTH", 0)
    declare(client, 3)
    address = f"/api/v1/what-ifs/{ask(client)['id']}"
    work(running, operator)
    assert not multiprocessing.active_children()
    assert client.get(address).json()["state"] == ("cancelled" if cancelled else "done")
    if cancelled:
        assert len(told) == 1
        return
    assert len(told) > 2 * 3, "events and signals"
    assert told == sorted(told)
    assert {0 < done <= total for done, total in told} == {True}
    assert len({total for _, total in told}) == 1


def test_jobs_are_bounded_cancelled_and_another_tenants_are_not_there(
    running: Running, client: httpx.Client, operator: Connection
) -> None:
    first, second = ask(client), ask(client)
    refused = client.post("/api/v1/what-ifs", json={"rules": WIDE})
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-what-ifs")
    assert refused.headers["retry-after"] == "10"
    with running.client(tenant="others") as others:
        assert others.get(f"/api/v1/what-ifs/{first['id']}").status_code == 404
        assert others.delete(f"/api/v1/what-ifs/{first['id']}").status_code == 404
        assert others.get("/api/v1/what-ifs").json()["items"] == []
        assert others.post("/api/v1/what-ifs", json={"rules": WIDE}).status_code == 202
    with connect(running.backends.database, "api", name="test") as connection:
        assert tenants_seen(connection, "ops.simulations") == set()
    assert client.delete(f"/api/v1/what-ifs/{first['id']}").status_code == 204
    assert client.get(f"/api/v1/what-ifs/{first['id']}").json()["state"] == "cancelled"
    claimed = simulations.claim(operator, HOLDER)
    assert claimed is not None
    assert claimed.simulation_id == second["id"]
    assert client.delete(f"/api/v1/what-ifs/{second['id']}").status_code == 204
    assert not simulations.progress(operator, second["id"], HOLDER, 1, 2)
    assert not simulations.finish(operator, second["id"], HOLDER, ("done", ""), ("{}", ""))


def test_a_job_whose_simulator_is_gone_is_taken_over(client: httpx.Client, operator: Connection) -> None:
    found = ask(client)
    assert simulations.claim(operator, "first") is not None
    assert simulations.claim(operator, "second") is None
    operator.execute("UPDATE ops.simulations SET leased_until = now() - interval '1 second'")
    taken = simulations.claim(operator, "second")
    assert taken is not None
    assert taken.simulation_id == found["id"]
    assert not simulations.progress(operator, found["id"], "first", 1, 2)
    assert simulations.progress(operator, found["id"], "second", 1, 2)


def test_a_simulator_that_is_stopped_leaves_its_job_to_the_next(
    running: Running, client: httpx.Client, operator: Connection
) -> None:
    declare(client, 1)
    found = ask(client)
    stop = threading.Event()
    stop.set()
    work(running, operator, stop)
    assert client.get(f"/api/v1/what-ifs/{found['id']}").json()["state"] == "running"
    operator.execute("UPDATE ops.simulations SET leased_until = now() - interval '1 second'")
    work(running, operator)
    assert client.get(f"/api/v1/what-ifs/{found['id']}").json()["state"] == "done"


def test_a_span_outside_of_the_log_says_what_there_is(
    running: Running, client: httpx.Client, operator: Connection
) -> None:
    declare(client, 1)
    found = ask(client, since="2099-01-01T00:00:00Z")
    work(running, operator)
    failed = client.get(f"/api/v1/what-ifs/{found['id']}").json()
    assert failed["state"] == "failed"
    assert "incident-intake holds 20" in failed["problem"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"rules": "name: x"}, 422, "invalid-rules"),
        ({"rules": "name: ["}, 422, "invalid-rules"),
        ({"rules": WIDE, "since": "yesterday"}, 422, "invalid-input"),
        ({"rules": WIDE, "source": "tape"}, 422, "invalid-input"),
        ({}, 422, "invalid-input"),
    ],
)
def test_bad_input_is_refused(client: httpx.Client, body: dict[str, Any], status: int, code: str) -> None:
    answer = client.post("/api/v1/what-ifs", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_wrong_rule_is_named_with_its_line(client: httpx.Client) -> None:
    answer = client.put("/api/v1/rules", json={"rules": RULES.replace("window: 20m", "window: soon")})
    assert answer.status_code == 422
    assert answer.json()["problems"][0].startswith("line 16: rules.1.window")
    failing = client.put("/api/v1/rules", json={"rules": RULES.replace("expect: [[x]]", "expect: [[w]]")})
    assert failing.json()["code"] == "rule-tests-failed"


def test_who_may_and_what_stage(running: Running) -> None:
    asked = {"name": "wide", "version": 2}
    with running.client(tenant="stages") as admin, running.client("responder", tenant="stages") as responder:
        assert responder.put("/api/v1/rules", json={"rules": WIDE}).status_code == 403
        assert admin.get("/api/v1/rules/shadow").status_code == 404
        rejected = admin.post("/api/v1/rules/promote", json=asked)
        assert (rejected.status_code, rejected.json()["code"]) == (409, "unknown-rule-set")
        assert admin.put("/api/v1/rules", json={"rules": WIDE, "stage": "shadow"}).status_code == 200
        assert admin.post("/api/v1/rules/promote", json=asked).status_code == 200
        assert admin.post("/api/v1/rules/rollback", json=asked).status_code == 200
        assert admin.post("/api/v1/rules/rollback", json=asked).status_code == 409
        assert responder.post("/api/v1/what-ifs", json={"rules": WIDE}).status_code == 202
    with running.client("viewer", tenant="stages") as viewer:
        assert viewer.post("/api/v1/what-ifs", json={"rules": WIDE}).status_code == 403


def test_graphql_follows_a_merged_incident(running: Running) -> None:
    asked = "incident(id: $id, followMerged: $follow) { id mergedInto family { role } }"
    query = f"query($id: String!, $follow: Boolean!) {{ {asked} }}"
    with running.client(tenant="merging") as client:
        ids = [client.post("/api/v1/incidents", json={"title": "x"}).json()["id"] for _ in range(3)]
        for source, target in pairwise(ids):
            assert client.post(f"/api/v1/incidents/{source}/merge", json={"into": target}).status_code == 200

        def incident(*, follow: bool) -> dict[str, Any]:
            answer = client.post("/graphql", json={"query": query, "variables": {"id": ids[0], "follow": follow}})
            found: dict[str, Any] = answer.json()["data"]["incident"]
            return found

        assert incident(follow=True) == {"id": ids[2], "mergedInto": None, "family": []}
        assert incident(follow=False) == {"id": ids[0], "mergedInto": ids[1], "family": []}
