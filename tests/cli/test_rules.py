"""`incidents rules` and `incidents what-if` as an operator runs them, the second half on real Kafka."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from cli.errors import CommandError
from cli.main import build
from streams.runtime.settings import KafkaSettings
from tests.harness.kafka import own_topics
from tests.harness.record import check_record, send, signals
from tests.harness.waiting import wait_until
from tests.harness.workers import environment, process

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules.yaml"
BY_TENANT = """
name: wide
version: 7
rules:
  - {name: all, key: [error_type], window: 10m}
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build(), list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_lint_test_and_diff_of_the_example(tmp_path: Path) -> None:
    assert "nothing wrong" in run("rules", "lint", str(EXAMPLE))
    assert run("rules", "test", str(EXAMPLE)).endswith("5 passed, 0 failed\n")
    other = tmp_path / "other.yaml"
    other.write_text(EXAMPLE.read_text().replace("window: 20m", "window: 30m"))
    (entry,) = orjson.loads(run("rules", "diff", str(EXAMPLE), str(other), "--json"))
    assert entry["detail"] == "window_ms: 1200000 to 1800000"


def test_what_is_wrong_fails_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(EXAMPLE.read_text().replace("window: 20m", "window: soon"))
    with pytest.raises(CommandError, match=r"bad\.yaml: line 16: rules\.1\.window"):
        run("rules", "lint", str(bad))
    bad.write_text(EXAMPLE.read_text().replace("expect: [[x]]", "expect: [[w]]"))
    with pytest.raises(CommandError, match="1 of 5 tests failed"):
        run("rules", "test", str(bad))
    with pytest.raises(CommandError, match="not published, its tests fail"):
        run("rules", "publish", str(bad), "--tenant", "tenant-0")
    with pytest.raises(CommandError, match="cannot read"):
        run("rules", "lint", str(tmp_path / "nowhere.yaml"))


@pytest.mark.stack
def test_a_storm_is_simulated_published_and_then_grouped_so(
    kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_topics(kafka_settings)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    rules = tmp_path / "wide.yaml"
    rules.write_text(BY_TENANT)
    what_if = ("what-if", "--rules", str(rules), "--tenant", "tenant-0")
    with process(["worker"], environment(settings), tmp_path / "worker.log"):
        send(settings, signals(60, "a", tenants=1, services=5))
        wait_until(lambda: len(check_record(settings).deliveries) == 60, "the storm is decided", 60)
        report = orjson.loads(run(*what_if, "--format", "json"))
        assert report["incidents"] == {"recorded": 5, "simulated": 1}
        assert run(*what_if) == run(*what_if)
        page = tmp_path / "report.html"
        run(*what_if, "--format", "html", "--output", str(page))
        assert page.read_text().count("<rect") == 6
        assert "version 7" in run("rules", "publish", str(rules), "--tenant", "tenant-0", "--timeout", "30")
        send(settings, signals(20, "b", tenants=1, services=4))
        wait_until(lambda: len(check_record(settings).deliveries) == 80, "the next storm is decided", 60)
        assert check_record(settings).kinds["Declared"] == 6
        run("rules", "publish", str(EXAMPLE), "--tenant", "tenant-0", "--timeout", "30")
        run("rules", "publish", str(rules), "--tenant", "tenant-0", "--timeout", "30")
        assert check_record(settings).kinds["Configured"] == 3, "going back to a former version is a change too"
        assert "grouped by rule all version 7" in run("rules", "explain", "b-3", "--tenant", "tenant-0")
        assert "grouped by rule service-error version 1" in run("rules", "explain", "a-3", "--tenant", "tenant-0")
    with pytest.raises(CommandError, match="names no signal c-1"):
        run("rules", "explain", "c-1", "--tenant", "tenant-0")
    with pytest.raises(CommandError, match="incident-intake holds 20"):
        run(*what_if, "--since", "2099-01-01T00:00:00Z")
    with pytest.raises(CommandError, match="RFC 3339"):
        run(*what_if, "--since", "yesterday")
