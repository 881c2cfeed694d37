"""As of T through a real server: REST, GraphQL and the command line."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from tests.api.conftest import Running
from tests.harness.workers import ROOT

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def story(running: Running) -> list[dict[str, Any]]:
    """The events of an incident that was declared, raised, renamed and resolved, and of another one after it."""
    with running.client() as client:
        made = client.post("/api/v1/incidents", json={"title": "first title", "service": "checkout"}).json()
        path = f"/api/v1/incidents/{made['id']}"
        client.post(f"{path}/severity", json={"severity": "SEV-1"}).raise_for_status()
        client.patch(path, json={"title": "second title"}).raise_for_status()
        client.post(f"{path}/state", json={"to": "resolved"}).raise_for_status()
        client.post("/api/v1/incidents", json={"title": "another"}).raise_for_status()
        events: list[dict[str, Any]] = client.get(f"{path}/timeline").json()["items"]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    return events


def test_an_incident_at_each_of_its_events(running: Running, story: list[dict[str, Any]]) -> None:
    id_ = story[0]["subject"]
    expected = [("SEV-3", "first title", "open"), ("SEV-1", "first title", "open"),
                ("SEV-1", "second title", "open"), ("SEV-1", "second title", "resolved")]  # fmt: skip
    with running.client("viewer") as client:
        for event, (severity, title, status) in zip(story, expected, strict=True):
            response = client.get(f"/api/v1/incidents/{id_}", params={"as_of": event["time"]})
            assert response.status_code == 200, response.text
            assert "etag" not in response.headers
            found = response.json()
            assert (found["severity"], found["title"], found["status"]) == (severity, title, status)
            assert found["sequence"] == event["sequence"]
            timeline = client.get(f"/api/v1/incidents/{id_}/timeline", params={"as_of": event["time"]}).json()["items"]
            assert timeline == story[: event["sequence"]]
        listed = client.get("/api/v1/incidents", params={"as_of": story[0]["time"], "status": "open"}).json()["items"]
        assert [(one["id"], one["title"]) for one in listed] == [(id_, "first title")]
        assert (
            client.get("/api/v1/incidents", params={"as_of": story[0]["time"], "status": "resolved"}).json()["items"]
            == []
        )


def test_graphql_says_the_same(running: Running, story: list[dict[str, Any]]) -> None:
    query = """query($id: String!, $at: DateTime!) {
      incident(id: $id, asOf: $at) { title status }
      incidents(asOf: $at, filter: {severity: ["SEV-1"]}) { nodes { title status } pageInfo { hasNextPage } }
    }"""
    with running.client("viewer") as client:
        asked = {"query": query, "variables": {"id": story[0]["subject"], "at": story[2]["time"]}}
        answer = client.post("/graphql", json=asked).json()
        assert "errors" not in answer, answer
        expected = {"title": "second title", "status": "open"}
        assert answer["data"]["incident"] == expected
        assert answer["data"]["incidents"] == {"nodes": [expected], "pageInfo": {"hasNextPage": False}}
        asked["variables"]["at"] = "2026-11-22T10:00:00"  # type: ignore[index]  # a dict
        assert "offset" in client.post("/graphql", json=asked).json()["errors"][0]["message"]


def test_a_time_before_the_first_event_and_others_that_make_no_sense(
    running: Running, story: list[dict[str, Any]]
) -> None:
    path = f"/api/v1/incidents/{story[0]['subject']}"
    before = (datetime.fromisoformat(story[0]["time"]) - timedelta(milliseconds=1)).isoformat()
    with running.client("viewer") as client:

        def asked(where: str, **parameters: str) -> tuple[int, str]:
            response = client.get(where, params=parameters)
            return response.status_code, response.json().get("code", "")

        assert asked(path, as_of=before) == (404, "not-yet")
        assert asked(f"{path}/timeline", as_of=before) == (404, "not-yet")
        assert asked("/api/v1/incidents/INC-999", as_of=before) == (404, "unknown-incident")
        for nonsense in ("yesterday", "2026-11-22T10:00:00", "2026-13-01T00:00:00Z", ""):
            assert asked(path, as_of=nonsense) == (422, "invalid-input"), nonsense
        for edge in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
            assert asked(path, as_of=edge)[0] in {200, 404, 422}, edge
            assert asked("/api/v1/incidents", as_of=edge)[0] in {200, 422}, edge
        assert asked("/api/v1/incidents", as_of=story[0]["time"], sort="severity") == (400, "invalid-sort")
        assert asked("/api/v1/incidents", as_of=before) == (200, "")


def show(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`incidents show` against the running API."""
    command = [sys.executable, "-m", "cli.main", "show", *arguments, "--url", running.url, "--token", running.token()]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_shows_a_page(running: Running, story: list[dict[str, Any]]) -> None:
    page = show(running, "INC-1", "--as-of", story[2]["time"])
    assert page.returncode == 0, page.stderr
    assert "second title" in page.stdout
    assert "SEV-1" in page.stdout
    assert "resolved" not in page.stdout
    found = orjson.loads(show(running, "INC-1", "--json").stdout)
    assert found["incident"]["status"] == "resolved"
    assert found["timeline"] == story
    missing = show(running, "INC-1", "--as-of", "2001-01-01T00:00:00Z")
    assert (missing.returncode, missing.stdout) == (7, "")
    assert "was declared at" in missing.stderr


def test_the_alerts_say_why_they_are_here() -> None:
    from cli.show import alerts_of

    alert = {"alert_key": "k", "title": "High latency", "severity": "SEV-2", "connector": "pagerduty",
             "external_id": "P1", "correlation_rule": "service", "correlation_version": 2,
             "correlation_key": "checkout"}  # fmt: skip
    attached = {"type": "com.incidents.alerts_attached.v1", "data": {"alerts": [alert]}}
    resolved = {"type": "com.incidents.alerts_resolved.v1", "data": {"alerts": [{"alert_key": "k"}]}}
    (found,) = alerts_of([{"type": "com.incidents.declared.v1", "data": {}}, attached, resolved])
    assert found["because"] == {"rule": "service", "version": 2, "key": "checkout"}
    assert (found["firing"], found["signals"]) == (False, 2)


def test_httpx_follows_a_merged_incident_into_the_past(running: Running) -> None:
    with running.client() as client:
        source, target = (client.post("/api/v1/incidents", json={"title": t}).json() for t in ("source", "target"))
        merged = client.post(f"/api/v1/incidents/{source['id']}/merge", json={"into": target["id"]})
        assert merged.status_code == 200, merged.text
        at = client.get(f"/api/v1/incidents/{source['id']}/timeline").json()["items"][-1]["time"]
        response = client.get(f"/api/v1/incidents/{source['id']}", params={"as_of": at})
        assert response.status_code == httpx.codes.PERMANENT_REDIRECT
        assert response.has_redirect_location
        followed = client.get(response.headers["location"])
        assert followed.json()["id"] == target["id"]
        before = client.get(f"/api/v1/incidents/{source['id']}", params={"as_of": source["created_at"]})
        assert (before.status_code, before.json()["merged_into"]) == (200, None)
