"""The frame of the command line: help, exit codes, messages, start-up cost."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import main as cli_main
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.registry import COMMANDS, Command
from infra.local.ports import ephemeral
from infra.local.settings import StackSettings
from tests.harness.stack import NAMED, ROOT, free_offset

HEAVY = (
    "faust",
    "confluent_kafka",
    "sqlalchemy",
    "fastapi",
    "strawberry",
    "psycopg",
    "minio",
    "streams",
    "rich.progress",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own in which nothing runs."""
    for name in NAMED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INCIDENTS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("INCIDENTS_PORT_OFFSET", str(free_offset(str(tmp_path))))
    return tmp_path / "home"


def incidents(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"},
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_there_and_explains_itself(command: Command) -> None:
    module, _, attribute = command.target.partition(":")
    assert getattr(import_module(module), attribute).__doc__ or command.name
    result = CliRunner().invoke(cli_main.build(), [command.name, "--help"])
    assert result.exit_code == ExitCode.OK, result.output
    assert "Usage: incidents" in result.output or f" {command.name} " in result.output


def test_command_names_are_unique() -> None:
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))


def test_building_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys; from cli.main import build; build(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(answer.stdout.split())
    assert "cli.main" in loaded
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_offered(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    result = CliRunner().invoke(cli_main.build(), ["--show-completion", shell])
    assert result.exit_code == ExitCode.OK, result.output
    assert "COMPLETE" in result.output


@pytest.mark.parametrize(("offset", "warns"), [(20_000, True), (0, False)])
def test_ports_that_outgoing_connections_may_hold_are_warned_of(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, offset: int, warns: bool
) -> None:
    assert ephemeral(StackSettings(port_offset=20_000).all_ports()), "this kernel's range holds ports of that offset"
    monkeypatch.setenv("INCIDENTS_PORT_OFFSET", str(offset))
    monkeypatch.setenv("INCIDENTS_MIN_FREE_MB", str(2**40))  # so that nothing is started
    answer = incidents("up")
    assert answer.returncode == ExitCode.PREREQUISITE
    assert ("warning: INCIDENTS_PORT_OFFSET=20000 puts ports" in answer.stderr) is warns
    assert not list(home.glob("run/*"))


def test_which_ports_outgoing_connections_may_hold(tmp_path: Path) -> None:
    range_file = tmp_path / "ip_local_port_range"
    assert ephemeral([40_000], range_file) == [], "not known"
    range_file.write_text("40000\t40002\n")
    assert ephemeral([40_003, 40_002, 40_000, 39_999], range_file) == [40_000, 40_002]


def test_version() -> None:
    answer = incidents("--version")
    assert answer.returncode == ExitCode.OK
    assert answer.stdout.startswith("incidents ")


@pytest.mark.parametrize("arguments", [("no-such-command",), ("status", "--no-such-option"), ("logs", "-n", "x")])
def test_a_wrong_command_line_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    answer = incidents(*arguments)
    assert answer.returncode == ExitCode.USAGE
    assert not answer.stdout


def test_status_of_nothing(home: Path) -> None:
    answer = incidents("status", "--json")
    assert answer.returncode == ExitCode.NOT_RUNNING
    assert '"state":"stopped"' in answer.stdout
    assert (home / "run").is_dir()


@pytest.mark.usefixtures("home")
def test_run_without_servers_says_what_to_start() -> None:
    answer = incidents("run")
    assert answer.returncode == ExitCode.NOT_RUNNING
    assert answer.stderr.startswith("error: the servers must answer first, start them with `incidents up` (kafka: ")
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.usefixtures("home")
def test_up_on_a_full_disk_is_a_missing_prerequisite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCIDENTS_MIN_FREE_MB", str(2**40))
    answer = incidents("up")
    assert answer.returncode == ExitCode.PREREQUISITE
    assert answer.stderr.startswith("error: only ")


@pytest.mark.usefixtures("home")
def test_a_setting_that_is_no_number_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCIDENTS_PORT_OFFSET", "many")
    answer = incidents("status")
    assert answer.returncode == ExitCode.USAGE
    assert answer.stderr.startswith("error: INCIDENTS_PORT_OFFSET: ")


def test_logs(home: Path) -> None:
    assert incidents("logs").returncode == ExitCode.NOT_FOUND
    settings = StackSettings(home=home)
    settings.make_folders()
    settings.log_file("worker").write_text("one\ntwo\nthree\n")
    assert incidents("logs", "worker", "-n", "2").stdout == "two\nthree\n"
    settings.log_file("api").write_text("four\n")
    assert incidents("logs", "-n", "1").stdout == "api        | four\nworker     | three\n"
    missing = incidents("logs", "nothing")
    assert missing.returncode == ExitCode.NOT_FOUND
    assert "there are: api, worker" in missing.stderr


def test_logs_go_on_with_what_is_appended(home: Path) -> None:
    settings = StackSettings(home=home)
    settings.make_folders()
    log = settings.log_file("worker")
    log.write_text("one\n")
    argv = [sys.executable, "-m", "cli.main", "logs", "worker", "-f"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"one\n"
        with log.open("a") as stream:
            stream.write("two\nhal")
        assert follower.stdout.readline() == b"two\n"
        with log.open("a") as stream:
            stream.write("f\n")
        assert follower.stdout.readline() == b"half\n"
        log.write_text("new\n")  # shorter than before: it was rotated
        assert follower.stdout.readline() == b"new\n"
        follower.terminate()


def test_a_failing_command_prints_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> typer.Typer:
        raise CommandError("no such tenant", ExitCode.NOT_FOUND)

    monkeypatch.setattr(cli_main, "build", refuse)
    with pytest.raises(SystemExit) as ended:
        cli_main.main()
    assert ended.value.code == ExitCode.NOT_FOUND
    assert capsys.readouterr().err == "error: no such tenant\n"
