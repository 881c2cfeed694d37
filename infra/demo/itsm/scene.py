"""What the demo of ticket sync runs on: the scene of the other demo, and a ServiceNow and a Jira beside it."""

from __future__ import annotations

import secrets
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from infra.demo import scene as base
from infra.local import stack as local_stack
from schemas import default_mapping

SERVICENOW_PORT, JIRA_PORT = 9197, 9198
PASSWORD = "demo-servicenow-password"  # noqa: S105  of the fake on this machine
JIRA_TOKEN = "demo-jira-token"  # noqa: S105  of the fake on this machine
MAPPING = Path(__file__).with_name("servicenow.yaml")


@dataclass(frozen=True, slots=True)
class ItsmScene:
    """The scene, with the ticket systems' addresses and integration ids by connector."""

    scene: base.Scene
    urls: dict[str, str]
    integrations: dict[str, str]
    incidents: base.Commands


def build(tenant: str, held: ExitStack, report: base.Report) -> ItsmScene:
    """Start everything; what was started is stopped when ``held`` closes. Raises ``StackError``."""
    built = base.build(tenant, held, report)
    stack = local_stack.open_stack()
    settings = stack.settings
    env = base.application_environment(settings, built.base_url)
    urls = {}
    for connector, port in (("servicenow", SERVICENOW_PORT), ("jira", JIRA_PORT)):
        urls[connector] = f"http://127.0.0.1:{settings.port(port)}"
        command = [sys.executable, "-m", f"infra.fakes.{connector}", "--port", str(settings.port(port))]
        command += ["--credential", PASSWORD] if connector == "servicenow" else ["--token", JIRA_TOKEN]
        log = settings.log_dir / f"fake-{connector}.log"
        held.callback(base.stop, base.start(command, env, log))
        base.wait(f"{urls[connector]}/_effects", log)
    report("integrations and mappings")
    incidents = base.Commands(env)
    integrations = {
        "servicenow": _add(incidents, tenant, "servicenow", {"base_url": urls["servicenow"], "username": "incidents"}),
        "jira": _add(
            incidents,
            tenant,
            "jira",
            {"base_url": urls["jira"], "email": "incidents@example.com", "project": "OPS"},
        ),
    }
    for connector, added in integrations.items():
        answer = httpx.post(
            f"{urls[connector]}/_webhook", json={"url": added["webhook_url"], "secret": added["secret"]}
        )
        answer.raise_for_status()
    ids = {connector: str(added["integration_id"]) for connector, added in integrations.items()}
    with tempfile.TemporaryDirectory() as folder:
        jira = Path(folder, "jira.yaml")
        jira.write_text(default_mapping("jira").replace("[SEV-1, SEV-2]", "[SEV-1, SEV-2, SEV-3]"))
        for connector, file in (("servicenow", MAPPING), ("jira", jira)):
            incidents.run("sync", "mapping", "publish", str(file), ids[connector], "--tenant", tenant)
    return ItsmScene(built, urls, ids, incidents)


def _add(incidents: base.Commands, tenant: str, connector: str, config: dict[str, Any]) -> dict[str, Any]:
    secret = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as folder:
        file, token = Path(folder, "config.json"), Path(folder, "token")
        file.write_bytes(orjson.dumps(config))
        token.write_text(PASSWORD if connector == "servicenow" else JIRA_TOKEN)
        options = ["--config", str(file), "--api-token-file", str(token), "--secret-file", "-"]
        added = incidents.json("integration", "add", connector, "--tenant", tenant, *options, given=secret)
    return {**added, "secret": secret}
