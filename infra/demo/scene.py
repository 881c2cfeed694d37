"""What the demo runs on: the stack, the application's processes, a PagerDuty to act on, tokens and integrations."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from infra.demo.ledger import Endpoint
from infra.local import environment
from infra.local import stack as local_stack
from infra.local.errors import StackError
from infra.local.settings import StackSettings

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
FAKE_PORT = 9199
PAGERDUTY_TOKEN = "demo-pagerduty-token"  # noqa: S105  of the fake on this machine
PAGERDUTY_EMAIL = "incidents@example.org"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a client of the demo needs; secrets belong to this run's tenant only."""

    tenant: str
    base_url: str
    fake_url: str
    admin_token: str
    viewer_token: str
    integrations: dict[str, dict[str, str]]

    def endpoints(self) -> dict[str, Endpoint]:
        """Where each connector's deliveries go."""
        return {
            connector: Endpoint(added["webhook_url"], f"/integrations/{connector}/{added['integration_id']}")
            for connector, added in self.integrations.items()
        }


def build(tenant: str, held: ExitStack, report: Report) -> Scene:
    """Start everything and set the tenant up; what was started is stopped when ``held`` closes.

    Raises ``StackError`` when a part cannot be started.
    """
    stack = local_stack.open_stack()
    settings = stack.settings
    base_url = f"http://127.0.0.1:{settings.port(settings.api_port)}"
    fake_url = f"http://127.0.0.1:{settings.port(FAKE_PORT)}"
    was_up = not local_stack.unanswered(stack)
    local_stack.up(stack, lambda name, step: report(f"{name}: {step}"))
    if not was_up:
        held.callback(local_stack.down, stack, lambda name, step: report(f"{name}: {step}"))
    env = application_environment(settings, base_url)
    incidents = Commands(env)
    report("database and topics")
    incidents.run("migrate")
    incidents.run("topics")
    logs = settings.log_dir
    fake = [sys.executable, "-m", "infra.fakes.pagerduty", "--port", str(settings.port(FAKE_PORT))]
    fake += ["--token", PAGERDUTY_TOKEN, "--from-email", PAGERDUTY_EMAIL]
    held.callback(stop, start(fake, env, logs / "fake-pagerduty.log"))
    if not _answers(f"{base_url}/health/ready"):
        held.callback(stop, start([sys.executable, "-m", "cli.main", "run"], env, logs / "demo-run.log"))
    report("waiting for the application")
    wait(f"{base_url}/health/ready", logs / "demo-run.log")
    wait(f"{fake_url}/_effects", logs / "fake-pagerduty.log")
    return _populate(tenant, base_url, fake_url, incidents)


def application_environment(settings: StackSettings, base_url: str) -> dict[str, str]:
    """What the processes of the application are started with."""
    return {
        **environment.load(settings.home),
        "INCIDENTS_PUBLIC_URL": base_url,
        "INCIDENTS_ALLOW_LOOPBACK_PROVIDERS": "true",
    }


class Commands:
    """The `incidents` command, run as an operator runs it."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env

    def run(self, *arguments: str, given: str = "") -> str:
        """Run a command and return what it prints; raises ``StackError`` with its error message when it fails."""
        command = [sys.executable, "-m", "cli.main", *arguments]
        done = subprocess.run(command, env=self._env, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"incidents {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def json(self, *arguments: str, given: str = "") -> dict[str, Any]:
        """Run a command with ``--json`` and return its object."""
        return dict(orjson.loads(self.run(*arguments, "--json", given=given)))


def _populate(tenant: str, base_url: str, fake_url: str, incidents: Commands) -> Scene:
    """The tenant's tokens and integrations; PagerDuty's side effects go to the fake."""
    with tempfile.TemporaryDirectory() as folder:
        config, api_token = Path(folder, "config.json"), Path(folder, "token")
        config.write_bytes(orjson.dumps({"api_url": fake_url, "from_email": PAGERDUTY_EMAIL}))
        api_token.write_text(PAGERDUTY_TOKEN)
        options = ["--config", str(config), "--api-token-file", str(api_token), "--secret-file", "-"]
        # PagerDuty issues the secret of its webhooks itself.
        pagerduty = incidents.json(
            "integration", "add", "pagerduty", "--tenant", tenant, *options, given=secrets.token_urlsafe(32)
        )
    return Scene(
        tenant=tenant,
        base_url=base_url,
        fake_url=fake_url,
        admin_token=incidents.json("token", "create", "--tenant", tenant, "--role", "admin")["token"],
        viewer_token=incidents.json("token", "create", "--tenant", tenant, "--role", "viewer")["token"],
        integrations={
            "alertmanager": incidents.json("integration", "add", "alertmanager", "--tenant", tenant),
            "pagerduty": pagerduty,
        },
    )


def start(command: Sequence[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output going to ``log``."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then stops its processes in order.
        return subprocess.Popen(
            command, env=env, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )


def stop(child: subprocess.Popen[bytes]) -> None:
    """Stop a process, by force where it does not go."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def wait(url: str, log: Path) -> None:
    """Wait until an address answers; raises ``StackError`` with the end of the log where it does not."""
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(url):
        if time.monotonic() > deadline:
            last = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
            raise StackError(f"{url} is not ready after {READY_SECONDS:.0f} s; {log.name} ends:\n" + "\n".join(last))
        time.sleep(0.2)
