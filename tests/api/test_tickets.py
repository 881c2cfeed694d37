"""Tickets over REST, GraphQL and the command line, with the real pipeline, dispatcher and a ServiceNow fake."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.api.conftest import Running, wait_until
from tests.api.test_cli import incidents
from tests.api.ticketing import ServiceNow, add_integration, ticketing
from tests.harness.stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

TENANT = "tickets"
MAPPING = yaml.safe_load((ROOT / "infra" / "demo" / "itsm" / "servicenow.yaml").read_text())
MAPPING["servicenow"]["create_for"] = []
IDS = "0b9c7c5e-3f55-5a53-9c0f-7f1f5e6a1c11"


@pytest.fixture(scope="module")
def servicenow(running: Running) -> Iterator[ServiceNow]:
    with ticketing(running) as found:
        yield found


@pytest.fixture(scope="module")
def integration(running: Running, servicenow: ServiceNow) -> str:
    """An integration whose mapping is published over REST."""
    added = add_integration(running, servicenow, TENANT)
    with running.client(tenant=TENANT) as client:
        published = client.put(f"/api/v1/integrations/{added}/mapping", json={"mapping": MAPPING})
        assert published.status_code == 200, published.text
        assert published.json()["status"] == "accepted"
    return added


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client(tenant=TENANT) as found:
        yield found


class Case:
    """An incident with a linked ticket that is in step."""

    def __init__(self, client: httpx.Client, servicenow: ServiceNow, integration: str) -> None:
        self._client, self._servicenow = client, servicenow
        made = client.post("/api/v1/incidents", json={"title": "Checkout fails", "severity": "SEV-2", "service": "pay"})
        self.id, self.key = made.json()["id"], made.json()["key"]
        self.path = f"/api/v1/incidents/{self.id}/tickets"
        linked = client.post(self.path, json={"integration_id": integration})
        assert linked.status_code == 200, linked.text
        wait_until(lambda: self.ticket()["in_step"], "the ticket is made")

    def ticket(self) -> dict[str, Any]:
        """The one ticket, as REST shows it."""
        [found] = self._client.get(self.path).json()["items"]
        return dict(found)

    def edit(self, **values: str) -> None:
        """Change the ticket by hand, and have it looked at."""
        self._servicenow.edit(self.ticket()["external_id"], **values)
        assert self._client.post(f"{self.path}/reconcile").status_code == 200

    def in_conflict(self, value: str = "network") -> dict[str, Any]:
        """Somebody changes the category, whose policy is manual; the conflict."""
        self.edit(category=value)
        wait_until(lambda: self.ticket()["waiting_conflicts"] == 1, "the conflict waits")
        [found] = self.conflicts(state="waiting")
        return found

    def conflicts(self, **parameters: str) -> list[dict[str, Any]]:
        """Its conflicts in the tenant's list."""
        answer = self._client.get("/api/v1/sync/conflicts", params={"incident_id": self.key, **parameters})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


@pytest.fixture
def case(client: httpx.Client, servicenow: ServiceNow, integration: str) -> Case:
    return Case(client, servicenow, integration)


def test_a_ticket_is_made_and_shown(case: Case, servicenow: ServiceNow, client: httpx.Client) -> None:
    ticket = case.ticket()
    record = servicenow.tickets()[ticket["external_id"]]
    assert record["short_description"] == "Checkout fails"
    assert (ticket["state"], ticket["external_key"], ticket["under_way"]) == ("linked", record["number"], "")
    assert (ticket["last_action"], ticket["last_result"], ticket["mapping_version"]) == (
        "ticket_create",
        "completed",
        1,
    )
    fields = {one["external_field"]: (one["ours"], one["theirs"]) for one in ticket["fields"]}
    assert fields["urgency"] == ("SEV-2", "2")
    [listed] = client.get("/api/v1/sync/tickets", params={"incident_id": case.key}).json()["items"]
    assert listed == {**ticket, "incident": case.key}


def test_an_edit_of_ours_reaches_the_ticket(case: Case, servicenow: ServiceNow, client: httpx.Client) -> None:
    assert client.patch(f"/api/v1/incidents/{case.id}", json={"title": "Checkout is down"}).status_code == 200
    sys_id = case.ticket()["external_id"]
    wait_until(lambda: servicenow.tickets()[sys_id]["short_description"] == "Checkout is down", "it is written")


def test_a_create_whose_answer_is_lost_makes_one_ticket(
    client: httpx.Client, servicenow: ServiceNow, integration: str
) -> None:
    before = set(servicenow.tickets())
    servicenow.fail(kind="drop_after", on="create")
    case = Case(client, servicenow, integration)
    assert set(servicenow.tickets()) - before == {case.ticket()["external_id"]}


def test_what_the_provider_refuses_is_shown_and_can_be_tried_again(
    client: httpx.Client, servicenow: ServiceNow, integration: str
) -> None:
    servicenow.fail(kind="status", status=403, on="create")
    made = client.post("/api/v1/incidents", json={"title": "Refused"}).json()
    path = f"/api/v1/incidents/{made['id']}/tickets"
    assert client.post(path, json={"integration_id": integration}).status_code == 200
    wait_until(lambda: client.get(path).json()["items"][0]["state"] == "failed", "it is given up")
    assert "403" in client.get(path).json()["items"][0]["last_failure"]
    failed = client.get("/api/v1/sync/tickets", params={"state": "failed", "incident_id": made["key"]}).json()
    assert len(failed["items"]) == 1
    assert client.post(path, json={"integration_id": integration}).status_code == 200
    wait_until(lambda: client.get(path).json()["items"][0]["in_step"], "it is made")


def test_a_conflict_waits_is_counted_and_is_decided(case: Case, client: httpx.Client) -> None:
    before = client.get("/api/v1/board").json()["sync"]
    conflict = case.in_conflict()
    ticket = case.ticket()
    assert (conflict["ours"], conflict["theirs"], conflict["policy"], conflict["field"]) == (
        "pay",
        "network",
        "manual",
        "service",
    )
    assert (conflict["open"], conflict["incident"], conflict["ticket_id"]) == (True, case.key, ticket["ticket_id"])
    assert conflict["base"] == {"ours": "pay", "theirs": "pay"}
    now = client.get("/api/v1/sync/summary").json()
    assert client.get("/api/v1/board").json()["sync"] == now
    assert now["waiting_conflicts"] == before["waiting_conflicts"] + 1
    decision = {"external_field": "category", "side": "theirs"}
    decided = client.post(f"{case.path}/{ticket['ticket_id']}/resolution", json=decision)
    assert (decided.status_code, decided.json()["service"]) == (200, "network")
    wait_until(lambda: case.ticket()["in_step"], "both sides agree")
    [ended] = case.conflicts(state="ended")
    assert (ended["ended"], ended["ended_by"], ended["value"]) == ("theirs", "token:test", "network")
    assert client.get("/api/v1/sync/summary").json()["waiting_conflicts"] == before["waiting_conflicts"]
    again = client.post(f"{case.path}/{ticket['ticket_id']}/resolution", json=decision)
    assert (again.status_code, again.json()["code"]) == (409, "no-conflict")


def test_a_decision_for_ours_is_written(case: Case, servicenow: ServiceNow, client: httpx.Client) -> None:
    case.in_conflict()
    ticket = case.ticket()
    decision = {"external_field": "category", "side": "value", "value": "software"}
    assert client.post(f"{case.path}/{ticket['ticket_id']}/resolution", json=decision).status_code == 200
    sys_id = ticket["external_id"]
    wait_until(lambda: servicenow.tickets()[sys_id]["category"] == "software", "it is written")
    assert client.get(f"/api/v1/incidents/{case.id}").json()["service"] == "software"


def test_a_ticket_is_unlinked_as_it_was_and_linked_again(case: Case, client: httpx.Client, integration: str) -> None:
    case.in_conflict()
    ticket = case.ticket()
    entries = client.get(f"/api/v1/incidents/{case.id}/timeline", params={"limit": 500}).json()["items"]
    before = entries[-1]["time"]
    assert client.delete(f"{case.path}/{ticket['ticket_id']}").status_code == 200
    assert (case.ticket()["state"], case.ticket()["fields"]) == ("unlinked", [])
    assert [one["ended"] for one in case.conflicts()] == ["unlinked"]
    [then] = client.get(case.path, params={"as_of": before}).json()["items"]
    assert (then["state"], then["waiting_conflicts"]) == ("linked", 1)
    again = client.post(case.path, json={"integration_id": integration, "external_id": ticket["external_key"]})
    assert again.status_code == 200, again.text
    wait_until(lambda: case.ticket()["state"] == "linked", "it is linked again")
    assert case.ticket()["external_id"] == ticket["external_id"]


def test_after_a_merge_the_ticket_is_the_other_incidents(case: Case, client: httpx.Client) -> None:
    other = client.post("/api/v1/incidents", json={"title": "The same"}).json()
    merged = client.post(f"/api/v1/incidents/{case.id}/merge", json={"into": other["key"]})
    assert merged.status_code == 200, merged.text
    [ticket] = client.get(f"/api/v1/incidents/{other['id']}/tickets").json()["items"]
    assert ticket["incident_id"] == other["id"]
    assert client.get(case.path).json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/incidents/INC-999/tickets", None, 404, "unknown-incident"),
        ("GET", "/sync/tickets?incident_id=INC-999", None, 404, "unknown-incident"),
        ("GET", "/sync/tickets?state=lost", None, 422, "invalid-input"),
        ("GET", "/sync/tickets?sate=linked", None, 400, "unknown-parameter"),
        ("GET", "/sync/tickets?after=xyz", None, 400, "malformed-cursor"),
        ("GET", "/sync/conflicts?state=closed", None, 422, "invalid-input"),
        ("GET", "/sync/conflicts?policy=coin_toss", None, 422, "invalid-input"),
        ("GET", "/sync/conflicts?limit=501", None, 422, "invalid-input"),
        ("POST", "/incidents/INC-999/tickets", {"integration_id": "i"}, 404, "unknown-incident"),
        ("POST", "/incidents/{id}/tickets", {}, 422, "invalid-input"),
        ("POST", "/incidents/{id}/tickets", {"integration_id": "i", "ticket": "INC1"}, 422, "invalid-input"),
        ("POST", "/incidents/{id}/tickets", {"integration_id": "nobody"}, 409, "unknown-mapping"),
        ("DELETE", "/incidents/{id}/tickets/unknown", None, 409, "unknown-ticket"),
        ("DELETE", "/incidents/{id}/tickets/a%20b", None, 422, "invalid-input"),
        ("POST", "/incidents/{id}/tickets/t/resolution", {"external_field": "state"}, 422, "invalid-input"),
        (
            "POST",
            "/incidents/{id}/tickets/t/resolution",
            {"external_field": "state", "side": "both"},
            422,
            "invalid-input",
        ),
        (
            "POST",
            "/incidents/{id}/tickets/t/resolution",
            {"external_field": "state", "side": "ours"},
            409,
            "unknown-ticket",
        ),
        ("POST", "/incidents/INC-999/tickets/reconcile", None, 404, "unknown-incident"),
        ("PUT", "/integrations/i/mapping", {"mapping": {}}, 422, "invalid-mapping"),
        ("PUT", "/integrations/i/mapping", {"mapping": []}, 422, "invalid-input"),
        ("PUT", "/integrations/a%20b/mapping", {"mapping": MAPPING}, 422, "invalid-input"),
        ("POST", "/sync/mapping/preview", {"mapping": MAPPING}, 422, "invalid-input"),
        ("POST", "/sync/mapping/preview", {"mapping": {"trello": {}}, "record": {}}, 422, "invalid-mapping"),
        ("POST", "/sync/mapping/preview", {"mapping": MAPPING, "record": {"state": 6}}, 422, "invalid-input"),
    ],
)
def test_bad_input_is_a_problem(
    client: httpx.Client, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    found = client.get("/api/v1/incidents", params={"limit": 1}).json()["items"]
    id_ = found[0]["id"] if found else client.post("/api/v1/incidents", json={"title": "x"}).json()["id"]
    answer = client.request(method, "/api/v1" + path.format(id=id_), json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_second_ticket_there_is_refused(case: Case, client: httpx.Client, integration: str) -> None:
    for body in ({}, {"external_id": "INC0000001"}):
        answer = client.post(case.path, json={"integration_id": integration, **body})
        assert (answer.status_code, answer.json()["code"]) == (409, "ticket-exists")


def test_who_may(running: Running, case: Case, integration: str) -> None:
    with running.client("viewer", tenant=TENANT) as viewer, running.client("responder", tenant=TENANT) as responder:
        assert viewer.get(case.path).status_code == 200
        assert viewer.get("/api/v1/sync/summary").status_code == 200
        assert viewer.post(f"{case.path}/reconcile").status_code == 403
        assert responder.post(f"{case.path}/reconcile").status_code == 200
        assert (
            responder.put(f"/api/v1/integrations/{integration}/mapping", json={"mapping": MAPPING}).status_code == 403
        )
    with running.client(tenant="others") as others:
        assert others.get(case.path).status_code == 404
        for listing in ("tickets", "conflicts"):
            assert others.get(f"/api/v1/sync/{listing}").json() == {"items": [], "next": None}


def test_a_preview_tells_what_a_record_means(client: httpx.Client) -> None:
    record = {"short_description": "down", "state": "3", "urgency": "1"}
    answer = client.post("/api/v1/sync/mapping/preview", json={"mapping": MAPPING, "record": record})
    assert answer.status_code == 200, answer.text
    found = {one["external_field"]: (one["ours"], one["note"]) for one in answer.json()["fields"]}
    assert (found["urgency"], found["short_description"]) == (("SEV-1", ""), ("down", ""))
    assert found["state"] == ("", "unmapped: a conflict, ours stays")
    assert any("SEV-4" in warning for warning in answer.json()["warnings"])


def test_graphql_shows_the_same(case: Case, client: httpx.Client) -> None:
    conflict = case.in_conflict("hardware")
    query = """query($incident: String!, $integration: String!) {
      tickets(filter: {incidentId: $incident, apart: true}) {
        nodes { ticketId state inStep fields { theirs waiting } } }
      ticketConflicts(filter: {incidentId: $incident, state: WAITING, integrationId: $integration}, first: 1) {
        nodes { conflictId ours theirs policy ended } pageInfo { hasNextPage } }
      board { sync { openConflicts waitingConflicts driftedFields } }
      incident(id: $incident) { tickets { externalKey } } }"""
    variables = {"incident": case.key, "integration": conflict["integration_id"]}
    answer = client.post("/graphql", json={"query": query, "variables": variables}).json()
    assert "errors" not in answer, answer
    data, ticket = answer["data"], case.ticket()
    [shown] = data["tickets"]["nodes"]
    assert (shown["ticketId"], shown["state"], shown["inStep"]) == (ticket["ticket_id"], "linked", False)
    assert {"theirs": "hardware", "waiting": True} in shown["fields"]
    assert data["ticketConflicts"]["nodes"] == [
        {
            "conflictId": conflict["conflict_id"],
            "ours": "pay",
            "theirs": "hardware",
            "policy": "manual",
            "ended": None,
        }
    ]
    assert data["board"]["sync"]["waitingConflicts"] >= 1
    assert data["incident"]["tickets"] == [{"externalKey": ticket["external_key"]}]
    wrong = client.post("/graphql", json={"query": '{ tickets(filter: {incidentId: "INC-999"}) { nodes { url } } }'})
    assert wrong.json()["errors"][0]["extensions"]["code"] == "unknown-incident"


@pytest.fixture
def commands(running: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The commands find the servers of the test."""
    kafka = running.backends.kafka
    monkeypatch.setitem(os.environ, "KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setitem(os.environ, "KAFKA_TOPIC_PREFIX", kafka.topic_prefix)
    return running


def sync(running: Running, *arguments: str) -> tuple[int, str, str]:
    done = incidents(running, "sync", *arguments, "--tenant", TENANT)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_the_commands_show_and_decide(case: Case, commands: Running, servicenow: ServiceNow) -> None:
    case.in_conflict()
    key = case.ticket()["external_key"]
    code, told, _ = sync(commands, "status")
    assert (code, case.key in told, key in told, "open conflicts" in told) == (0, True, True, True)
    code, told, _ = sync(commands, "status", "--incident", case.key, "--json")
    [shown] = json.loads(told)["tickets"]
    assert (shown["number"], shown["waiting_conflicts"], shown["state"]) == (int(case.key[4:]), 1, "linked")
    code, told, why = sync(commands, "drift", "--incident", case.key)
    assert (code, "network" in told, "waits for a decision" in told, "1 fields differ" in why) == (1, True, True, True)
    code, told, _ = sync(commands, "resolve", case.key, "category", "--side", "ours")
    assert code == 0
    sys_id = case.ticket()["external_id"]
    wait_until(lambda: servicenow.tickets()[sys_id]["category"] == "pay", "ours is written")
    wait_until(lambda: case.ticket()["in_step"], "both agree")
    assert sync(commands, "drift", "--incident", case.key)[0] == 0
    code, told, _ = sync(commands, "explain", case.key, "service", "--json")
    assert [step["what"] for step in json.loads(told)][-3:] == ["resolved", "requested", "written"]
    code, _, why = sync(commands, "resolve", case.key, "category", "--side", "ours")
    assert (code, "0 tickets" in why) == (1, True)


def test_the_commands_link_and_unlink(
    client: httpx.Client, commands: Running, servicenow: ServiceNow, integration: str
) -> None:
    del servicenow
    made = client.post("/api/v1/incidents", json={"title": "By command"}).json()
    assert sync(commands, "link", made["key"], integration)[0] == 0
    path = f"/api/v1/incidents/{made['id']}/tickets"
    wait_until(lambda: client.get(path).json()["items"][0]["in_step"], "it is made")
    ticket_id = client.get(path).json()["items"][0]["ticket_id"]
    assert sync(commands, "reconcile", "--incident", made["key"])[0] == 0
    wait_until(lambda: client.get(path).json()["items"][0]["last_action"] == "ticket_read", "it is read")
    assert sync(commands, "unlink", made["key"], ticket_id)[0] == 0
    wait_until(lambda: client.get(path).json()["items"][0]["state"] == "unlinked", "it is let go of")
    code, _, why = sync(commands, "unlink", made["key"], ticket_id)
    assert (code, "unknown-ticket" in why) == (6, True)


def test_the_commands_say_what_is_wrong(commands: Running, integration: str, tmp_path: Path) -> None:
    assert sync(commands, "status", "--incident", "INC-999")[0] == 7
    assert sync(commands, "resolve", "INC-1", "category", "--side", "both")[0] == 2
    file = tmp_path / "mapping.yaml"
    file.write_text("servicenow: {version: 1}\n")
    done = incidents(commands, "sync", "mapping", "publish", str(file), integration, "--tenant", TENANT)
    assert (done.returncode, b"field_mappings" in done.stderr) == (1, True)
    file.write_text(yaml.safe_dump(MAPPING))
    done = incidents(commands, "sync", "mapping", "publish", str(file), integration, "--tenant", TENANT, "--json")
    assert json.loads(done.stdout)["version"] == 1
