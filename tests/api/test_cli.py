"""The commands that talk to a running API, as programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.watch import render
from tests.api.conftest import DEADLINE_S, Running
from tests.api.test_streams import declare

pytestmark = pytest.mark.stack


def incidents(
    running: Running, *arguments: str, token: str = "", stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "INCIDENTS_URL": running.url,
        "INCIDENTS_TOKEN": token,
        "DATABASE_URL": running.database_url,
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, input=stdin, timeout=DEADLINE_S, check=False)


def test_tokens_from_the_command_line_work_and_end(running: Running) -> None:
    made = incidents(running, "token", "create", "--tenant", "cli", "--role", "responder", "--expires", "1d", "--json")
    token = json.loads(made.stdout)
    assert token["expires_at"] is not None
    events = {
        "specversion": "1.0",
        "id": "1",
        "source": "/cli",
        "type": "com.incidents.signal.v1",
        "data": {"title": "x"},
    }
    sent = incidents(running, "send", "-", "--json", token=token["token"], stdin=json.dumps([events] * 2).encode())
    assert json.loads(sent.stdout) == {"documents": 2, "requests": 1}, sent.stderr
    listed = json.loads(incidents(running, "token", "list", "--tenant", "cli", "--json").stdout)
    assert [one["token_id"] for one in listed] == [token["token_id"]]
    rotated = incidents(running, "token", "rotate", token["token_id"], "--tenant", "cli", "--overlap", "0")
    assert rotated.stdout.startswith(b"inc_")
    refused = incidents(running, "send", "-", token=token["token"], stdin=json.dumps(events).encode())
    assert (refused.returncode, b"401" in refused.stderr) == (6, True)
    assert incidents(running, "token", "revoke", "nothing", "--tenant", "cli").returncode == 7
    assert incidents(running, "token", "create", "--tenant", "cli", "--role", "king").returncode == 2


def test_tail_prints_events_and_resumes_behind_a_cursor(running: Running) -> None:
    with running.client(tenant="tail") as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        made = declare(client, "tailed")
        client.post(f"/api/v1/incidents/{made['id']}/notes", json={"text": "a note"})
    everything = incidents(running, "tail", "--after", "0", "--limit", "2", "--json", token=token)
    assert [json.loads(line)["tenantsequence"] for line in everything.stdout.splitlines()] == [1, 2]
    notes = incidents(
        running,
        "tail",
        "--incident",
        made["key"],
        "--type",
        "com.incidents.note_added.v1",
        "--after",
        "0",
        "--limit",
        "1",
        token=token,
    )
    assert b"a note" in notes.stdout
    nobody = incidents(running, "tail", "--url", "http://127.0.0.1:1", token=token)
    assert nobody.returncode == 3


def test_watch_shows_the_board_over_the_subscription(running: Running) -> None:
    with running.client(tenant="watch") as client:
        declare(client, "watched [bold]as is[/bold]")
        token = client.headers["authorization"].removeprefix("Bearer ")
    once = incidents(running, "watch", "--updates", "1", "--json", token=token)
    update = json.loads(once.stdout)
    assert update["board"]["columns"][0]["incidents"][0]["key"] == "INC-1"
    shown = incidents(running, "watch", "--updates", "1", token=token)
    assert b"watched [bold]as is[/bold]" in shown.stdout
    assert update["board"]["sync"] == dict.fromkeys(
        ("openConflicts", "waitingConflicts", "driftedFields", "ticketsFailed"), 0
    )
    apart = {**update["board"], "sync": {**update["board"]["sync"], "openConflicts": 2, "waitingConflicts": 1}}
    with Console(width=120, record=True, file=StringIO()) as console:
        for board in (update["board"], apart):
            console.print(render(board, "http://here"))
    text = console.export_text()
    assert text.count("Tickets:") == 1
    assert "2 open conflicts (1 wait for a decision), 0 drifted fields, 0 failed" in text
    assert incidents(running, "watch", "--updates", "1", token="inc_wrong").returncode == 6


def test_send_refuses_what_it_cannot_read(running: Running, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert incidents(running, "send", str(broken), token="x").returncode == 2
    assert incidents(running, "send", str(tmp_path / "absent.json"), token="x").returncode == 2
