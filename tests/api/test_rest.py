"""REST through a real server: what is written is read, and what is refused says why."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Running

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def admin(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


def declare(client: httpx.Client, title: str = "Checkout answers 500", **more: object) -> dict[str, Any]:
    response = client.post("/api/v1/incidents", json={"title": title, **more})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def test_a_declared_incident_is_read_at_once(admin: httpx.Client) -> None:
    made = declare(admin, severity="SEV-2", service="checkout")
    by_id = admin.get(f"/api/v1/incidents/{made['id']}")
    by_number = admin.get(f"/api/v1/incidents/{made['key']}")
    assert by_id.json() == by_number.json()
    assert by_id.json().items() <= made.items()
    assert by_id.headers["etag"] == f'"{made["revision"]}"'


def test_every_action_shows_in_the_incident_and_its_timeline(admin: httpx.Client) -> None:
    id_ = declare(admin)["id"]
    path = f"/api/v1/incidents/{id_}"
    assert admin.post(f"{path}/acknowledge").json()["acknowledged_by"] == "token:test"
    assert admin.post(f"{path}/assign", json={"assignee": "ada"}).json()["assignee"] == "ada"
    assert admin.post(f"{path}/severity", json={"severity": "SEV-1"}).json()["severity"] == "SEV-1"
    assert admin.patch(path, json={"title": "Checkout is down"}).json()["title"] == "Checkout is down"
    assert admin.post(f"{path}/notes", json={"text": "rolled back"}).status_code == 200
    assert admin.post(f"{path}/state", json={"to": "mitigated"}).json()["status"] == "mitigated"
    first = admin.get(f"{path}/timeline", params={"limit": 4})
    second = admin.get(first.links["next"]["url"])
    events = first.json()["items"] + second.json()["items"]
    assert [event["sequence"] for event in events] == list(range(1, 8))
    assert second.json()["next"] is None
    assert {event["subject"] for event in events} == {id_}
    assert events[0]["type"] == "com.incidents.declared.v1"


def test_a_stale_revision_is_refused_and_a_fresh_one_is_not(admin: httpx.Client) -> None:
    made = declare(admin)
    path = f"/api/v1/incidents/{made['id']}/severity"
    current = f'"{made["revision"]}"'
    assert admin.post(path, json={"severity": "SEV-1"}, headers={"If-Match": current}).status_code == 200
    stale = admin.post(path, json={"severity": "SEV-2"}, headers={"If-Match": current})
    assert (stale.status_code, stale.json()["code"]) == (412, "stale-revision")
    assert admin.post(path, json={"severity": "SEV-2"}, headers={"If-Match": "one"}).status_code == 400


def test_the_same_key_gives_the_first_outcome_and_with_other_content_422(admin: httpx.Client) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = admin.post("/api/v1/incidents", json={"title": "once"}, headers=headers)
    again = admin.post("/api/v1/incidents", json={"title": "once"}, headers=headers)
    other = admin.post("/api/v1/incidents", json={"title": "twice"}, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "reused-idempotency-key")
    operation = admin.get(f"/api/v1/operations/{first.json()['command_id']}")
    assert operation.status_code == 200


def test_what_the_state_does_not_allow_is_409_and_the_unknown_is_404(admin: httpx.Client) -> None:
    made = declare(admin)
    illegal = admin.post(f"/api/v1/incidents/{made['id']}/state", json={"to": "draft"})
    assert (illegal.status_code, illegal.json()["reason"]) == (409, "illegal-transition")
    assert illegal.headers["content-type"] == "application/problem+json"
    unknown = admin.post(f"/api/v1/incidents/{uuid.uuid4()}/acknowledge")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown-incident")
    assert admin.post("/api/v1/incidents/INC-999999/acknowledge").status_code == 404
    assert admin.get("/api/v1/incidents/nothing").status_code == 404


def test_a_merged_incident_leads_to_its_target(admin: httpx.Client) -> None:
    source, target = declare(admin, "first"), declare(admin, "second")
    merged = admin.post(f"/api/v1/incidents/{source['key']}/merge", json={"into": target["key"]})
    assert merged.json()["id"] == target["id"]
    old = admin.get(f"/api/v1/incidents/{source['id']}")
    assert (old.status_code, old.headers["location"]) == (308, f"/api/v1/incidents/{target['id']}")
    followed = admin.get(f"/api/v1/incidents/{source['key']}", follow_redirects=True)
    assert followed.json()["id"] == target["id"]


def test_pages_are_disjoint_complete_and_stable_while_incidents_are_added(running: Running) -> None:
    with running.client(tenant="paging") as client:
        made = [declare(client, f"incident {number}")["number"] for number in range(7)]
        response = client.get("/api/v1/incidents", params={"limit": 3})
        declare(client, "added meanwhile")
        found = [item["number"] for item in response.json()["items"]]
        while "next" in response.links:
            response = client.get(response.links["next"]["url"])
            found += [item["number"] for item in response.json()["items"]]
        assert found == sorted(made, reverse=True)
        severe = client.get("/api/v1/incidents", params={"severity": "SEV-1"})
        assert severe.json()["items"] == []


def test_a_tenant_sees_nothing_of_another(running: Running, admin: httpx.Client) -> None:
    made = declare(admin)
    with running.client(tenant="rival") as rival:
        assert rival.get(f"/api/v1/incidents/{made['id']}").status_code == 404
        assert rival.get(f"/api/v1/incidents/{made['id']}/timeline").status_code == 404
        assert rival.post(f"/api/v1/incidents/{made['id']}/acknowledge").status_code == 404
        assert rival.get("/api/v1/incidents").json()["items"] == []


def test_signals_are_found_with_their_disposition(admin: httpx.Client) -> None:
    ids = [uuid.uuid4().hex for _ in range(3)]
    events = [
        {
            "specversion": "1.0",
            "id": id_,
            "source": "/test",
            "type": "com.incidents.signal.v1",
            "data": {"title": "disk full", "rule": "disk", "host": "db1", "fingerprint": id_},
        }
        for id_ in ids
    ]
    content_type = {"content-type": "application/cloudevents-batch+json"}
    sent = admin.post("/api/v1/events", content=httpx.Request("POST", "/", json=events).content, headers=content_type)
    assert sent.status_code == 202, sent.text
    wanted = {"items": [{"source": "/test", "id": id_} for id_ in [*ids, "never-sent"]]}

    def looked_up() -> dict[str, list[dict[str, object]]]:
        found: dict[str, list[dict[str, object]]] = admin.post("/api/v1/alerts/lookup", json=wanted).json()
        return found

    from tests.api.conftest import wait_until

    wait_until(lambda: len(looked_up()["items"]) == len(ids), "the signals are projected")
    assert {item["disposition"] for item in looked_up()["items"]} == {"attached"}
    assert looked_up()["missing"] == [{"source": "/test", "id": "never-sent"}]
    incident = looked_up()["items"][0]["incident_id"]
    assert len(admin.get(f"/api/v1/incidents/{incident}/alerts").json()["items"]) == len(ids)
    listed = admin.get("/api/v1/alerts", params={"ids": ids, "disposition": "attached"})
    assert {item["id"] for item in listed.json()["items"]} == set(ids)


def test_board_connectors_and_configuration(admin: httpx.Client) -> None:
    declare(admin)
    columns = {column["status"]: column for column in admin.get("/api/v1/board").json()["columns"]}
    assert columns["open"]["count"] >= 1
    actions = {one["name"]: one["actions"] for one in admin.get("/api/v1/connectors").json()["items"]}
    assert actions["pagerduty"] == ["acknowledge", "note", "resolve"]
    assert "ticket_create" in actions["servicenow"]
    wish = {"connector": "pagerduty", "integration_id": "int_1", "actions": {"com.incidents.acknowledged.v1": "note"}}
    assert admin.put("/api/v1/subscriptions/pager", json=wish).status_code == 200
    assert admin.put("/api/v1/preferences", json={"auto_resolve": True}).status_code == 200


def test_tokens_are_listed_rotated_with_overlap_and_revoked_at_once(running: Running, admin: httpx.Client) -> None:
    made = admin.post("/api/v1/tokens", json={"name": "bot", "role": "viewer"}).json()

    def status(text: str) -> int:
        return httpx.get(f"{running.url}/api/v1/board", headers={"Authorization": f"Bearer {text}"}).status_code

    assert status(made["token"]) == 200
    rotated = admin.post(f"/api/v1/tokens/{made['token_id']}/rotate", json={"overlap_s": 600}).json()
    assert rotated["rotated_from"] == made["token_id"]
    assert (status(made["token"]), status(rotated["token"])) == (200, 200)
    assert admin.delete(f"/api/v1/tokens/{rotated['token_id']}").status_code == 204
    assert (status(made["token"]), status(rotated["token"])) == (200, 401)
    ended = admin.post(f"/api/v1/tokens/{made['token_id']}/rotate", json={"overlap_s": 0}).json()
    assert (status(made["token"]), status(ended["token"])) == (401, 200)
    listed = {token["token_id"]: token for token in admin.get("/api/v1/tokens").json()["items"]}
    assert listed[rotated["token_id"]]["revoked_at"] is not None
    assert all("token" not in token and "token_hash" not in token for token in listed.values())


def test_metrics_name_routes_and_no_tenants(admin: httpx.Client) -> None:
    text = admin.get("/metrics").text
    assert 'route="/api/v1/incidents/{incident_id}"' in text
    assert "acme" not in text
