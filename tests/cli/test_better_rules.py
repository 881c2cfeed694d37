"""From a storm to better rules: tried on what was recorded, shadowed, promoted, applied backwards, and taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cli.errors import CommandError
from cli.main import build
from projections.connections import connect
from streams.agents import read_ahead
from streams.codec import cloudevents
from streams.domain import events
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.message import Data
from streams.domain.signals import Signal
from streams.runtime.settings import DatabaseSettings, KafkaSettings
from tests.api.conftest import working
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, read_topic, send
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

pytestmark = pytest.mark.stack

TENANT = "tenant-0"
BETTER = """
name: shop
version: 3
rules:
  - {name: team, key: [labels.team], window: 10m}
families: {window: 15m, services: {checkout: [payments]}}
tests:
  - name: a team's alerts are one incident
    signals: [{id: a, labels: {team: x}}, {id: b, labels: {team: x}, at: 1m}, {id: c, labels: {team: y}}]
    expect: [[a, b], [c]]
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build(), list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def tried(asked: Sequence[str]) -> dict[str, Any]:
    """The report of a what-if, the same whichever process reads."""
    printed = run("what-if", *asked, "--format", "json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_ahead, "WORTH", 0)
        assert run("what-if", *asked, "--format", "json") == printed
    return dict(orjson.loads(printed))


def storm(tag: str, count: int) -> list[tuple[Envelope, Data]]:
    """Two teams, whose alerts are of several kinds, and of a service that both run: wrong by the default rules."""
    found: list[tuple[Envelope, Data]] = []
    for n in range(count):
        service, error = ("checkout", f"e{n % 3}") if n % 4 else ("gateway", "shared")
        alert = Signal(
            f"{service} {error}", fingerprint=f"{tag}-{n}", service=service, error_type=error,
            labels={"team": f"team-{n % 8 // 4}"}, external_id=f"{tag}-P{n}", connector="alertmanager",
            integration_id="am-1",
        )  # fmt: skip
        found.append((Envelope(f"{tag}-{n}", "/integrations/test", TYPE_OF[Signal], TENANT), alert))
    return found


def recorded(settings: KafkaSettings) -> Iterator[tuple[Envelope, events.Event]]:
    for record in read_topic(settings, "incident-events"):
        yield cloudevents.decode(record.headers, record.value)


def rows(database: DatabaseSettings, query: str) -> list[Any]:
    with connect(database, "projector", name="test") as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture
def database(database_url: str) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"url": database_url})


@pytest.fixture
def settings(
    kafka_settings: KafkaSettings, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> KafkaSettings:
    """Topics and a database of their own, also for the commands that are run here."""
    own = own_topics(kafka_settings)
    for name, value in variables(own, database).items():
        monkeypatch.setenv(name, value)
    return own


def variables(settings: KafkaSettings, database: DatabaseSettings) -> dict[str, str]:
    return environment(settings) | {"DATABASE_URL": database.url.get_secret_value()}


def test_a_storm_shows_a_better_rule_set_which_is_shadowed_promoted_and_applied_backwards(
    settings: KafkaSettings, database: DatabaseSettings, tmp_path: Path
) -> None:
    rules = tmp_path / "better.yaml"
    rules.write_text(BETTER)
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    asked = ("--rules", str(rules), "--tenant", TENANT, "--since", began)
    with ExitStack() as running:
        running.enter_context(working(settings, database.url.get_secret_value()))
        names = ("projector", "simulator")
        _, simulator = [
            running.enter_context(process([name], variables(settings, database), tmp_path / f"{name}.log"))
            for name in names
        ]
        send(settings, storm("a", 48))
        wait_until(lambda: len(check_record(settings).deliveries) == 48, "the storm is decided", 60)

        report = tried(asked)
        assert report["incidents"] == {"recorded": 4, "simulated": 2}
        assert (report["counts"]["merged"], report["counts"]["split"]) == (2, 4)

        with pytest.raises(CommandError, match="no draft runs in the shadow"):
            run("rules", "shadow", "--tenant", TENANT)
        run("rules", "publish", str(rules), "--tenant", TENANT, "--shadow", "--timeout", "30")
        send(settings, storm("b", 16))
        wait_until(lambda: _shadowed(database) == 16, "the shadow has read the live signals", 60)
        live = orjson.loads(run("rules", "shadow", "--tenant", TENANT, "--format", "json"))
        assert (live["rules"], live["signals"]) == ({"name": "shop", "version": 3}, 16)
        assert live["incidents"] == {"recorded": 4, "simulated": 2}
        assert "simulated" in run("rules", "shadow", "--tenant", TENANT)
        simulator.kill()
        simulator.wait()
        with connect(database, "projector", name="test", autocommit=True) as connection:
            connection.execute("DELETE FROM ops.simulations")
        running.enter_context(process(["simulator"], variables(settings, database), tmp_path / "second.log"))
        wait_until(lambda: _shadowed(database) == 16, "another simulator has read them again", 60)
        assert orjson.loads(run("rules", "shadow", "--tenant", TENANT, "--format", "json")) == live

        with pytest.raises(CommandError, match="unknown-rule-set"):
            run("apply-rules", *asked, "--accept", _plan(asked)["plan"])
        run("rules", "promote", "shop:3", "--tenant", TENANT, "--timeout", "30")
        plan = _plan(asked)
        assert (len(plan["merges"]), len(plan["splits"])) == (2, 4)
        with pytest.raises(CommandError, match="look at it again"):
            run("apply-rules", *asked, "--accept", "0" * 12)
        with pytest.raises(CommandError, match=f"--accept {plan['plan']}"):
            run("apply-rules", *asked)
        assert "6 of 6 steps done" in run("apply-rules", *asked, "--accept", plan["plan"], "--timeout", "30")
        assert _plan(asked)["steps"] == 0
        after = orjson.loads(run("what-if", *asked, "--format", "json"))
        assert after["incidents"] == {"recorded": 2, "simulated": 2}

        check_record(settings)
        _check_rows(settings, database)
        wait_until(lambda: not rows(database, "SELECT 1 FROM ops.simulations"), "the shadow has ended", 30)
        run("rules", "rollback", "shop:3", "--tenant", TENANT, "--timeout", "30")
        with pytest.raises(CommandError, match="unknown-rule-set"):
            run("rules", "rollback", "shop:3", "--tenant", TENANT, "--timeout", "30")
    stages = [
        (event.what, event.name, event.content.get("change", "") or event.content.get("stage", ""))
        for _, event in recorded(settings)
        if isinstance(event, events.Configured)
    ]
    assert stages == [
        ("shadow_rule_set", "shop:3", "shadow"),
        ("rule_set", "shop:3", "promote"),
        ("rule_application", "shop:3", "started"),
        ("rule_application", "shop:3", "finished"),
        ("rule_set", "default:1", "roll_back"),
    ]


def _plan(asked: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(run("apply-rules", *asked, "--dry-run", "--json"))
    return found


def _shadowed(database: DatabaseSettings) -> int:
    found = rows(database, "SELECT done FROM ops.simulations WHERE kind = 'shadow'")
    return int(found[0][0]) if found else 0


def _check_rows(settings: KafkaSettings, database: DatabaseSettings) -> None:
    """The read models say of every alert what the record says: two incidents hold all, each with its objects."""
    last = max(envelope.tenantsequence for envelope, _ in recorded(settings))
    shown = "SELECT coalesce(max(tenantsequence), 0) FROM read.timeline_entries"
    wait_until(lambda: rows(database, shown)[0][0] == last, "everything is projected", 60)
    held = "SELECT incident_id, count(*) FROM read.alerts GROUP BY incident_id ORDER BY incident_id"
    states = (
        "SELECT incident_id, count(*) FROM read.incident_alerts WHERE firing GROUP BY incident_id ORDER BY incident_id"
    )
    counted = "SELECT incident_id, alert_count FROM read.incidents WHERE merged_into = '' ORDER BY incident_id"
    assert [count for _, count in rows(database, held)] == [32, 32]
    assert rows(database, held) == rows(database, states) == rows(database, counted)
