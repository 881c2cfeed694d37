"""Incident and tickets kept in step by the real processes, with running fakes of ServiceNow and Jira."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr

from api import tokens
from connectors.kit import integrations
from connectors.kit.secrets import ConnectorSettings, SecretBox
from connectors.registry import CONNECTORS
from infra.local.ports import is_free
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.mapping import FieldMapping
from streams.domain.ticket_commands import SetMapping
from streams.runtime.settings import KafkaSettings, ObjectStorageSettings
from streams.runtime.topics import provision
from tests.harness.record import send
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PASSED_S = 120.0
"""How long a change may take on a busy machine: nothing here measures how long it does take."""

SEVERITIES = {
    "servicenow": ("urgency", {"SEV-1": "1", "SEV-2": "2", "SEV-3": "3"}),
    "jira": ("priority", {"SEV-1": "Highest", "SEV-2": "High", "SEV-3": "Medium"}),
}
STATUSES = {
    "servicenow": ("state", {"open": "2", "mitigated": "2", "resolved": "6", "closed": "7"}),
    "jira": (
        "status_category",
        {"open": "indeterminate", "mitigated": "indeterminate", "resolved": "done", "closed": "done"},
    ),
}
TITLES = {"servicenow": "short_description", "jira": "summary"}
REQUIRED = {"6/close_code": "Solution provided", "6/close_notes": "{number} was resolved"}


def fields_of(connector: str) -> tuple[FieldMapping, ...]:
    """Title ours, severity of both sides, status along the lifecycle."""
    severity, severities = SEVERITIES[connector]
    status, statuses = STATUSES[connector]
    required = REQUIRED if connector == "servicenow" else {}
    return (
        FieldMapping("title", TITLES[connector], "internal", "internal_wins"),
        FieldMapping("severity", severity, "bidirectional", "most_recent_allowed", values=severities),
        FieldMapping("status", status, "internal", "state_machine", values=statuses, required=required),
    )


@dataclass(slots=True)
class Site:
    """The running application with one tenant, and its two ticket systems."""

    api: httpx.Client
    fakes: dict[str, httpx.Client]
    start: Callable[[str], Popen[bytes]]
    tenant: str
    ids: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Popen[bytes]] = field(default_factory=dict)

    def kill(self, *names: str) -> None:
        """Kill processes without warning, and start others in their place."""
        for name in names:
            self.processes[name].kill()
            self.processes[name].wait()
            self.processes[name] = self.start(name)

    def effects(self, name: str) -> dict[str, Any]:
        """What the fake counts."""
        return dict(self.fakes[name].get("/_effects").json())

    def ticket(self, name: str) -> dict[str, Any]:
        """The only ticket of the fake."""
        [one] = self.effects(name)["tickets"].values()
        return dict(one)

    def has_one(self, name: str) -> bool:
        """Whether exactly one ticket has a marker, and no marker is on two."""
        return list(self.effects(name)["tickets_by_marker"].values()) == [1]

    def incident(self, id_: str) -> dict[str, Any]:
        """The incident as clients read it."""
        return dict(self.api.get(f"/api/v1/incidents/{id_}").raise_for_status().json())

    def notes(self, id_: str) -> list[str]:
        """The texts of the notes on its timeline."""
        items = (
            self.api.get(f"/api/v1/incidents/{id_}/timeline", params={"limit": 500}).raise_for_status().json()["items"]
        )
        return [item["data"]["text"] for item in items if item["type"] == "com.incidents.note_added.v1"]

    def writes(self) -> list[int]:
        """Writes at both providers so far."""
        return [self.effects(name)["writes"] for name in self.fakes]


def free_ports(count: int) -> list[int]:
    """Ports that are free now."""
    start = 28_000 + secrets.randbelow(1_000)
    return [port for port in range(start, start + 500) if is_free(port)][:count]


@pytest.fixture
def site(
    kafka_settings: KafkaSettings, database_url: str, object_storage: ObjectStorageSettings, tmp_path: Path
) -> Iterator[Site]:
    provision(kafka_settings, partitions=2)
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    api_port, health, *ports = free_ports(4)
    env = environment(
        kafka_settings,
        DATABASE_URL=database_url,
        INCIDENTS_SECRET_KEY=key,
        INCIDENTS_ALLOW_LOOPBACK_PROVIDERS="1",
        INCIDENTS_POLLER_INTERVAL_S="1",
        INCIDENTS_POLLER_LEASE_S="10",
        INCIDENTS_API_PORT=str(api_port),
        S3_ENDPOINT=object_storage.endpoint,
        S3_ACCESS_KEY=object_storage.access_key,
        S3_SECRET_KEY=object_storage.secret_key.get_secret_value(),
        S3_BUCKET=object_storage.bucket,
    )
    url = f"http://127.0.0.1:{api_port}"
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in zip(("servicenow", "jira"), ports, strict=True)}
    with ExitStack() as held:
        for name, port in zip(addresses, ports, strict=True):
            arguments = ["--port", str(port), "--folder", str(tmp_path / name)]
            held.enter_context(process(arguments, env, tmp_path / f"{name}.log", f"infra.fakes.{name}"))

        def start(name: str) -> Popen[bytes]:
            own = env | ({"INCIDENTS_METRICS_PORT": str(health)} if name == "worker" else {})
            return held.enter_context(process([name], own, tmp_path / f"{name}.log"))

        processes = {name: start(name) for name in ("worker", "projector", "dispatcher", "poller", "api")}
        rows = held.enter_context(psycopg.connect(database_url, autocommit=True, row_factory=dict_row))
        tenant = f"acme-{secrets.token_hex(3)}"  # topics and database are the module's
        api = held.enter_context(httpx.Client(base_url=url, timeout=60, headers=bearer(rows, tenant)))
        fakes = {name: held.enter_context(httpx.Client(base_url=address)) for name, address in addresses.items()}
        found = Site(api, fakes, start, tenant, processes=processes)
        for client, path in ((api, "/health/ready"), *((fake, "/_effects") for fake in fakes.values())):
            wait_until(partial(answers, client, path), f"{client.base_url} is ready", 180)
        wait_until(lambda: answers(httpx, f"http://127.0.0.1:{health}/health/ready"), "the worker is ready", 180)
        connect(found, rows, key, kafka_settings, addresses, url)
        yield found


def answers(client: Any, path: str) -> bool:
    """Whether something answers 200."""
    try:
        return bool(client.get(path).status_code == httpx.codes.OK)
    except httpx.TransportError:
        return False


def bearer(rows: psycopg.Connection[dict[str, Any]], tenant: str) -> dict[str, str]:
    """A new token of an administrator, as a header."""
    token_id, text = tokens.generate()
    rows.execute(
        "INSERT INTO ops.api_tokens (token_id, tenant_id, name, role, token_hash, created_at)"
        " VALUES (%s, %s, 'test', 'admin', %s, now())",
        (token_id, tenant, tokens.digest(text)),
    )
    return {"Authorization": f"Bearer {text}"}


def connect(
    site: Site,
    rows: psycopg.Connection[dict[str, Any]],
    key: str,
    kafka: KafkaSettings,
    addresses: dict[str, str],
    url: str,
) -> None:
    """Add both integrations, have their webhooks sent, and set their mappings."""
    box = SecretBox(ConnectorSettings(secret_key=SecretStr(key)))
    accounts: dict[str, tuple[dict[str, str], str]] = {
        "servicenow": ({"username": "incidents"}, "servicenow-secret"),
        "jira": ({"email": "incidents@example.com", "project": "OPS"}, "jira-token"),
    }
    for name, (config, token) in accounts.items():
        added = integrations.add(
            rows, box, CONNECTORS[name], site.tenant, config={"base_url": addresses[name], **config}, api_token=token
        )
        site.ids[name] = added.integration_id
        target = {"url": f"{url}/api/v1/webhooks/{name}/{added.integration_id}", "secret": added.secret.value}
        site.fakes[name].post("/_webhook", json=target).raise_for_status()
        mapping = SetMapping(added.integration_id, name, 1, fields_of(name), "user:test", create_for=("SEV-1", "SEV-2"))
        envelope = Envelope(f"mapping-{name}", "/test", TYPE_OF[SetMapping], site.tenant)
        send(kafka, [(envelope, mapping)])


def test_an_incident_and_its_tickets_stay_in_step(site: Site) -> None:
    for name in site.fakes:  # the answer to the first create is lost
        site.fakes[name].post("/_faults", json={"kind": "drop_after", "on": "create"}).raise_for_status()
    wish = {"title": "Checkout answers 500", "severity": "SEV-2"}
    made = site.api.post("/api/v1/incidents", json=wish).raise_for_status().json()
    for name in site.fakes:
        wait_until(partial(site.has_one, name), f"{name}: one", PASSED_S)
    assert site.ticket("servicenow")["short_description"] == wish["title"]
    assert site.ticket("servicenow")["urgency"] == "2"
    wait_until(
        lambda: site.ticket("jira")["fields"]["status"]["name"] == "In Progress", "the issue is started", PASSED_S
    )

    quiet(site)  # an edit in the moment between a read and a write of ours is replaced: docs/itsm.md
    edit(site, "servicenow", {"urgency": "1", "work_notes": "paging the vendor"})
    wait_until(lambda: site.incident(made["id"])["severity"] == "SEV-1", "theirs by webhook", PASSED_S)
    wait_until(lambda: site.ticket("jira")["fields"]["priority"]["name"] == "Highest", "on to the other", PASSED_S)
    wait_until(lambda: any("paging the vendor" in note for note in site.notes(made["id"])), "the note", PASSED_S)
    wait_until(lambda: "paging the vendor" in comments(site), "the note on to the issue", PASSED_S)

    site.fakes["jira"].post("/_webhook_faults", json={"kind": "loss", "times": 5}).raise_for_status()
    edit(site, "jira", {"priority": "3"})
    site.kill("poller", "dispatcher")
    wait_until(lambda: site.incident(made["id"])["severity"] == "SEV-3", "theirs by poll", PASSED_S)
    wait_until(lambda: site.ticket("servicenow")["urgency"] == "3", "on to the other", PASSED_S)

    resolved = site.api.post(f"/api/v1/incidents/{made['id']}/state", json={"to": "resolved"})
    assert resolved.status_code in {200, 202}, resolved.text
    wait_until(lambda: site.ticket("servicenow")["state"] == "6", "resolved there", PASSED_S)
    wait_until(lambda: site.ticket("jira")["fields"]["status"]["name"] == "Resolved", "resolved there", PASSED_S)
    assert site.ticket("servicenow")["close_code"] == "Solution provided"
    quiet(site)
    assert [note for note in site.notes(made["id"]) if "paging the vendor" in note] == ["paging the vendor"]
    assert comments(site).count("paging the vendor") == 1
    assert all(set(site.effects(name)["tickets_by_marker"].values()) == {1} for name in site.fakes)


def edit(site: Site, name: str, values: dict[str, str]) -> None:
    """Somebody edits the ticket by hand."""
    ticket = site.ticket(name)
    answer = site.fakes[name].post(f"/_page/{ticket.get('sys_id') or ticket['key']}", data=values)
    assert answer.status_code == 303, answer.text


def comments(site: Site) -> str:
    """All comments of the issue."""
    return str(site.ticket("jira")["comments"])


def quiet(site: Site) -> None:
    """Nothing is written any more: no write in any ten rounds of polling in a row, within the deadline."""
    deadline = time.monotonic() + PASSED_S
    while True:
        before = site.writes()
        time.sleep(10)
        if site.writes() == before:
            return
        assert time.monotonic() < deadline, (before, site.writes())


def attached(site: Site, id_: str) -> dict[str, dict[str, Any]]:
    """The incident's files by name, as clients read them."""
    items = site.api.get(f"/api/v1/incidents/{id_}/attachments").raise_for_status().json()["items"]
    return {one["file_name"]: one for one in items}


def at_ticket(site: Site, name: str) -> list[str]:
    """The names of the files at the fake, with repetitions."""
    return sorted(one.get("file_name") or one["filename"] for one in site.effects(name)["files"])


def test_files_and_links_go_both_ways_once(site: Site) -> None:
    made = site.api.post("/api/v1/incidents", json={"title": "Checkout fails", "severity": "SEV-2"}).json()
    path = f"/api/v1/incidents/{made['id']}"
    for name in site.fakes:
        wait_until(partial(site.has_one, name), f"{name}: one", PASSED_S)
        # the first upload arrives, and its answer does not
        site.fakes[name].post("/_faults", json={"kind": "drop_after", "on": "attach"}).raise_for_status()
    content = secrets.token_bytes(100_000)
    sent = site.api.post(f"{path}/attachments", params={"file_name": "größe.bin"}, content=content)
    assert sent.status_code in {201, 202}, sent.text
    site.api.post(f"{path}/links", json={"url": "https://grafana.example/d/7", "title": "Latency"}).raise_for_status()
    for name in site.fakes:
        wait_until(lambda n=name: at_ticket(site, n) == ["größe.bin"], f"{name} has our file", PASSED_S)  # type: ignore[misc]
    wait_until(lambda: "grafana.example" in str(site.ticket("jira")["remotelinks"]), "the link at the issue", PASSED_S)

    edit(site, "servicenow", {"file_name": "core.txt", "file_text": "their core"})
    wait_until(lambda: attached(site, made["id"]).get("core.txt", {}).get("state") == "held", "theirs", PASSED_S)
    theirs = attached(site, made["id"])["core.txt"]
    assert (theirs["how"], theirs["via"], theirs["actor"]) == ("ticket", site.ids["servicenow"], "servicenow:admin")
    assert site.api.get(theirs["content"]).content == b"their core"
    wait_until(lambda: at_ticket(site, "jira") == ["core.txt", "größe.bin"], "on to the other", PASSED_S)

    site.fakes["jira"].post("/_webhook_faults", json={"kind": "loss", "times": 5}).raise_for_status()
    edit(site, "jira", {"file_name": "trace.txt", "file_text": "their trace"})
    site.kill("poller", "dispatcher", "worker")
    wait_until(lambda: "trace.txt" in attached(site, made["id"]), "theirs by poll", PASSED_S)
    everything = ["core.txt", "größe.bin", "trace.txt"]
    wait_until(lambda: at_ticket(site, "servicenow") == everything, "on to the other", PASSED_S)

    [ours] = [one for one in site.effects("jira")["files"] if one["filename"] == "größe.bin"]
    credentials = httpx.BasicAuth("incidents@example.com", "jira-token")
    site.fakes["jira"].delete(f"/rest/api/3/attachment/{ours['id']}", auth=credentials).raise_for_status()
    gone = "com.incidents.ticket.file_gone.v1"
    wait_until(lambda: gone in kinds(site, path), "its copy is gone", PASSED_S)
    assert site.api.get(attached(site, made["id"])["größe.bin"]["content"]).content == content, "ours stays"
    quiet(site)
    assert at_ticket(site, "servicenow") == everything
    assert at_ticket(site, "jira") == ["core.txt", "trace.txt"], "nobody puts it back"
    assert sorted(attached(site, made["id"])) == everything
    assert kinds(site, path).count("com.incidents.attachment.added.v1") == 3
    notes = [one for one in str(site.fakes["servicenow"].get("/").text).split("<p>") if "grafana.example" in one]
    assert len(notes) == 1


def kinds(site: Site, path: str) -> list[str]:
    """The types of the incident's events."""
    items = site.api.get(f"{path}/timeline", params={"limit": 500}).raise_for_status().json()["items"]
    return [str(one["type"]) for one in items]
