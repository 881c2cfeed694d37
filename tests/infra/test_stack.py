"""The local stack on its real servers: started, started twice, killed, moved, stopped."""

from __future__ import annotations

import io
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import psutil
import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from pydantic import SecretStr

from infra.local import environment
from infra.local import stack as local_stack
from infra.local.errors import PortTaken, RunsElsewhere, ServerDied
from infra.local.ports import is_free
from infra.local.processes import ProcessRecord, find, read_record
from infra.local.servers import postgres_crash
from infra.local.settings import StackSettings
from infra.local.stack import Stack
from infra.local.status import status
from streams.runtime.settings import ObjectStorageSettings
from tests.harness.objects import client_of
from tests.harness.own_stack import own_stack
from tests.harness.stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]
NAMES = ("kafka", "postgres", "objects")


@pytest.fixture(scope="module")
def ours() -> Iterator[Stack]:
    """A stack that this module may break; every test leaves it so that `up` repairs it."""
    with own_stack() as stack:
        yield stack


@pytest.fixture
def running(ours: Stack) -> Stack:
    """The same stack with all servers answering."""
    local_stack.up(ours, local_stack.quiet)
    return ours


def record_of(stack: Stack, name: str) -> ProcessRecord:
    """The pid record of a server."""
    record = read_record(stack.settings.record_file(name))
    assert record is not None
    return record


def pids(stack: Stack) -> dict[str, int]:
    """The pid of each server."""
    return {name: record_of(stack, name).pid for name in NAMES}


def kill(stack: Stack, name: str) -> None:
    """SIGKILL one server and wait until it has ended."""
    process = find(record_of(stack, name))
    assert process is not None
    process.send_signal(signal.SIGKILL)
    psutil.wait_procs([process], timeout=10.0)


def command(stack: Stack, *arguments: str) -> subprocess.Popen[bytes]:
    """`incidents` with these arguments on this stack."""
    settings = stack.settings
    variables = {
        "INCIDENTS_HOME": str(settings.home),
        "INCIDENTS_PORT_OFFSET": str(settings.port_offset),
        "PYTHONPATH": str(ROOT),
    }
    argv = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.Popen(argv, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def storage(values: dict[str, str]) -> ObjectStorageSettings:
    """The S3 settings that an environment file describes."""
    return ObjectStorageSettings(
        endpoint=values["S3_ENDPOINT"],
        access_key=values["S3_ACCESS_KEY"],
        secret_key=SecretStr(values["S3_SECRET_KEY"]),
    )


def test_up_writes_how_to_reach_what_answers(running: Stack) -> None:
    path = running.settings.environment_file
    values = environment.read(path)
    assert values.keys() == {
        *("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY"),
        *("INCIDENTS_SECRET_KEY", "INCIDENTS_SIGNING_KEY"),
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((running.settings.home / "secrets.json").stat().st_mode) == 0o600
    assert local_stack.unanswered(running) == {}
    with psycopg.connect(values["DATABASE_URL"]) as connection:
        row = connection.execute(
            "SELECT current_user, current_database(), current_setting('server_version')"
        ).fetchone()
    assert row is not None
    assert row[:2] == ("incidents", "incidents")
    assert row[2].startswith("18.")


def test_the_database_wants_its_password(running: Stack) -> None:
    url = environment.read(running.settings.environment_file)["DATABASE_URL"]
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url.replace(password, "wrong"))


def test_nothing_is_read_past_the_keys_of_the_s3_server(running: Stack) -> None:
    settings = storage(environment.read(running.settings.environment_file))
    client_of(settings).put_object(bucket_name=settings.bucket, object_name="private", data=io.BytesIO(b"x"), length=1)
    refused = 0
    for port in running.servers[2].ports:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/buckets/{settings.bucket}/private", timeout=2.0)
        except httpx.TransportError:
            continue  # a gRPC port
        refused += 1
        assert answer.status_code in {400, 401, 403, 404}, f"port {port} answers {answer.status_code}"
    assert refused >= 4


def test_up_twice_changes_nothing(running: Stack) -> None:
    before = (pids(running), running.settings.environment_file.read_bytes())
    local_stack.up(running, local_stack.quiet)
    assert (pids(running), running.settings.environment_file.read_bytes()) == before


def test_two_ups_at_once_start_one_stack(ours: Stack) -> None:
    local_stack.down(ours, local_stack.quiet)
    both = [command(ours, "up", "--json"), command(ours, "up", "--json")]
    answers = [(one.communicate(timeout=120), one.returncode) for one in both]
    assert [code for _, code in answers] == [0, 0], answers
    seen = [{row["name"]: row["pid"] for row in orjson.loads(out)["services"]} for (out, _), _ in answers]
    assert seen[0] == seen[1] == pids(ours)


def test_kafka_killed_comes_back_with_its_topics(running: Stack) -> None:
    admin = {"bootstrap.servers": running.servers[0].environment["KAFKA_BOOTSTRAP_SERVERS"]}
    before = AdminClient(admin)
    before.create_topics([NewTopic("kept", 3, 1)])["kept"].result(10.0)
    kill(running, "kafka")
    local_stack.up(running, local_stack.quiet)
    assert len(AdminClient(admin).list_topics("kept", timeout=10.0).topics["kept"].partitions) == 3


def test_postgres_killed_comes_back_with_its_rows(running: Stack) -> None:
    url = environment.read(running.settings.environment_file)["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    kill(running, "postgres")
    local_stack.up(running, local_stack.quiet)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def _run_until_cut(url: str, query: str) -> None:
    with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
        connection.execute(query)


def test_postgres_killed_under_a_busy_and_an_idle_client_comes_back(running: Stack) -> None:
    """A busy backend outlives its postmaster for as long as its query takes and would keep a new one from starting."""
    url = environment.read(running.settings.environment_file)["DATABASE_URL"]
    with ThreadPoolExecutor(2) as clients:
        busy = clients.submit(_run_until_cut, url, "SELECT count(*) FROM generate_series(1, 10000000000)")
        idle = clients.submit(_run_until_cut, url, "SELECT pg_sleep(600)")
        with psycopg.connect(url, autocommit=True) as watcher:
            active = (
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            while watcher.execute(active).fetchone() != (2,):
                time.sleep(0.01)
        kill(running, "postgres")
        local_stack.up(running, local_stack.quiet)
        busy.result(30.0)
        idle.result(30.0)
    assert local_stack.unanswered(running) == {}


def test_a_second_postgres_does_not_end_the_first(running: Stack) -> None:
    """Where the pid record is lost and the server lives, nothing of it may be cleared away."""
    before = pids(running)["postgres"]
    postgres_crash.clear((running.settings.home / "postgres").resolve() / "data")
    assert psutil.Process(before).children()
    assert local_stack.unanswered(running) == {}


def test_the_s3_server_killed_after_its_answer_has_the_object(running: Stack) -> None:
    settings = storage(environment.read(running.settings.environment_file))
    content = os.urandom(300_000)
    client_of(settings).put_object(
        bucket_name=settings.bucket, object_name="sha256/kept", data=io.BytesIO(content), length=len(content)
    )
    kill(running, "objects")
    local_stack.up(running, local_stack.quiet)
    answer = client_of(settings).get_object(bucket_name=settings.bucket, object_name="sha256/kept")
    try:
        assert answer.read() == content
    finally:
        answer.close()
        answer.release_conn()


def test_a_stale_pid_file_is_reported_and_the_stranger_left_alone(running: Stack) -> None:
    kill(running, "objects")
    record = record_of(running, "objects")
    myself = ProcessRecord("objects", os.getpid(), record.identity, record.port)
    myself.write(running.settings.record_file("objects"))  # the pid was given to another process: this one
    said: list[tuple[str, str]] = []
    local_stack.up(running, lambda name, what: said.append((name, what)))
    assert any(name == "objects" and "pid file is removed" in what for name, what in said)
    assert record_of(running, "objects").pid != os.getpid()


def test_other_ports_are_refused_while_it_runs(running: Stack) -> None:
    moved = running.settings.model_copy(update={"port_offset": running.settings.port_offset + 100})
    with pytest.raises(RunsElsewhere, match="INCIDENTS_PORT_OFFSET"):
        local_stack.up(local_stack.open_stack(moved), local_stack.quiet)


def test_status_names_what_runs_and_what_does_not(running: Stack) -> None:
    rows = {str(row["name"]): row for row in status(running)["services"]}
    assert {name: row["pid"] for name, row in rows.items()} == pids(running)
    assert {row["state"] for row in rows.values()} == {"running"}
    assert all(isinstance(row["rss_bytes"], int) and row["rss_bytes"] > 10**7 for row in rows.values())
    kill(running, "objects")
    rows = {str(row["name"]): row for row in status(running)["services"]}
    assert (rows["objects"]["state"], rows["objects"]["pid"]) == ("stopped", None)


def test_status_of_the_command_line_is_one_json_object(running: Stack) -> None:
    process = command(running, "status", "--json")
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")
    state = orjson.loads(output)
    assert state.keys() == {"services", "processes"}
    for row in [*state["services"], *state["processes"]]:
        assert {"name", "pid", "port", "state", "rss_bytes"} <= row.keys()
    names = ["worker", "projector", "dispatcher", "scheduler", "archiver", "poller", "simulator", "api"]
    assert [row["name"] for row in state["processes"]] == names


def test_a_server_that_dies_at_its_start_shows_its_last_words(ours: Stack) -> None:
    local_stack.down(ours, local_stack.quiet)
    version = (ours.settings.home / "postgres").resolve() / "data" / "PG_VERSION"
    good = version.read_text()
    version.write_text("9.0\n")
    try:
        with pytest.raises(ServerDied, match=r"initialized by PostgreSQL version 9\.0"):
            local_stack.up(ours, local_stack.quiet)
    finally:
        version.write_text(good)
    local_stack.up(ours, local_stack.quiet)


def test_a_taken_port_is_refused_by_name_and_up_goes_on_when_it_is_free(ours: Stack) -> None:
    local_stack.down(ours, local_stack.quiet)
    port = ours.servers[0].ports[0]
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(PortTaken, match=f"kafka needs port {port}"):
            local_stack.up(ours, local_stack.quiet)
    local_stack.up(ours, local_stack.quiet)
    assert local_stack.unanswered(ours) == {}


def test_a_named_server_is_used_and_not_started(
    running: Stack, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another home, with all three servers named by the environment, starts nothing and ends nothing."""
    for key, value in environment.read(running.settings.environment_file).items():
        monkeypatch.setenv(key, value)
    other = local_stack.open_stack(StackSettings(home=tmp_path_factory.mktemp("other"), port_offset=40000))
    values = local_stack.up(other, local_stack.quiet)
    assert values.keys() == {"INCIDENTS_SECRET_KEY", "INCIDENTS_SIGNING_KEY"}
    assert {row["state"] for row in status(other)["services"]} == {"external"}
    before = pids(running)
    local_stack.down(other, local_stack.quiet)
    assert pids(running) == before
    assert local_stack.unanswered(running) == {}


def test_down_leaves_no_process_and_can_be_said_twice(running: Stack) -> None:
    ended = pids(running)
    children = [child for pid in ended.values() for child in psutil.Process(pid).children(recursive=True)]
    local_stack.down(running, local_stack.quiet)
    assert not [pid for pid in ended.values() if psutil.pid_exists(pid)]
    assert not [child for child in children if child.is_running()]
    assert all(is_free(port) for server in running.servers for port in server.ports)
    assert local_stack.recorded_names(running.settings) == set()
    local_stack.down(running, local_stack.quiet)
