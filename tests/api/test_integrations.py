"""Integrations over REST and the command line: listed, and changed while they are used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from connectors.kit import integrations
from connectors.kit.secrets import SecretBox
from connectors.registry import CONNECTORS
from tests.api.conftest import Running
from tests.api.test_cli import incidents

pytestmark = pytest.mark.stack

TENANT = "integrations"
CONFIG = {"base_url": "https://acme.service-now.com", "username": "incidents"}


@pytest.fixture
def integration(running: Running) -> str:
    """A ServiceNow integration of the tenant."""
    with psycopg.connect(running.database_url, autocommit=True, row_factory=dict_row) as rows:
        box = SecretBox(running.backends.connectors)
        added = integrations.add(rows, box, CONNECTORS["servicenow"], TENANT, config=CONFIG, api_token="secret-token")
    return added.integration_id


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with running.client(tenant=TENANT) as found:
        yield found


def shown(client: httpx.Client, integration: str) -> dict[str, Any]:
    answer = client.get("/api/v1/integrations")
    assert "secret-token" not in answer.text
    [found] = [one for one in answer.json()["items"] if one["integration_id"] == integration]
    return dict(found)


def test_name_and_settings_change_one_at_a_time(client: httpx.Client, integration: str) -> None:
    path = f"/api/v1/integrations/{integration}"
    assert shown(client, integration)["config"] == CONFIG
    named = client.patch(path, json={"name": "Production"})
    assert (named.status_code, named.json()["name"], named.json()["config"]) == (200, "Production", CONFIG)
    wider = {**CONFIG, "extra_fields": ["u_region"]}
    assert client.patch(path, json={"config": wider}).json()["config"] == wider
    assert (shown(client, integration)["name"], shown(client, integration)["config"]) == ("Production", wider)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid-input"),
        ({"name": ""}, 422, "invalid-input"),
        ({"secret": "x"}, 422, "invalid-input"),
        ({"config": []}, 422, "invalid-input"),
        ({"config": {}}, 422, "invalid-configuration"),
        ({"config": {**CONFIG, "base_url": "https://evil.example.com"}}, 422, "invalid-configuration"),
        ({"config": {**CONFIG, "colour": "red"}}, 422, "invalid-configuration"),
        ({"config": {**CONFIG, "auth": "oauth"}}, 422, "invalid-configuration"),
    ],
)
def test_what_is_wrong_changes_nothing(
    client: httpx.Client, integration: str, body: dict[str, Any], status: int, code: str
) -> None:
    answer = client.patch(f"/api/v1/integrations/{integration}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert (shown(client, integration)["name"], shown(client, integration)["config"]) == ("servicenow", CONFIG)


def test_only_administrators_of_the_tenant_may(running: Running, client: httpx.Client, integration: str) -> None:
    path = f"/api/v1/integrations/{integration}"
    with running.client("responder", tenant=TENANT) as responder:
        assert responder.patch(path, json={"name": "x"}).status_code == 403
        assert responder.get("/api/v1/integrations").status_code == 403
    with running.client(tenant="others") as others:
        assert others.patch(path, json={"name": "x"}).json()["code"] == "unknown-integration"
        assert others.get("/api/v1/integrations").json() == {"items": []}
    assert client.patch("/api/v1/integrations/int_nobody", json={"name": "x"}).status_code == 404
    with psycopg.connect(running.database_url, autocommit=True, row_factory=dict_row) as rows:
        integrations.disable(rows, integration)
    assert client.patch(path, json={"name": "x"}).status_code == 404
    assert shown(client, integration)["disabled_at"] is not None


def test_the_command_changes_them_too(
    running: Running, client: httpx.Client, integration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = running.backends.connectors.secret_key.get_secret_value()
    monkeypatch.setitem(os.environ, "INCIDENTS_SECRET_KEY", key)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**CONFIG, "username": "sync"}))
    update = ("integration", "update", integration)
    done = incidents(running, *update, "--config", str(file), "--name", "By command", "--json")
    assert json.loads(done.stdout) == {"integration_id": integration, "state": "updated"}, done.stderr
    assert (shown(client, integration)["name"], shown(client, integration)["config"]["username"]) == (
        "By command",
        "sync",
    )
    file.write_text(json.dumps({"base_url": "https://evil.example.com"}))
    for arguments, code in (
        ((*update, "--config", str(file)), 6),
        (update, 2),
        (("integration", "update", "int_nobody", "--name", "x"), 6),
        ((*update, "--config", str(tmp_path / "absent.json")), 2),
    ):
        assert incidents(running, *arguments).returncode == code
    assert shown(client, integration)["config"]["username"] == "sync"
