"""The Makefile explains itself and names the Debian package of whatever is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.stack import ROOT

PROMISED = {"setup", "up", "down", "run", "test", "check", "demo", "lock", "format"}


def make(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run make in the checkout with the real PATH or another."""
    variables = {"PATH": path or os.environ["PATH"], "HOME": "/nonexistent"}
    command = [shutil.which("make") or "make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with a shell, Python and what the Makefile's own lines use, and neither Java nor Maven."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("bash", "awk"):
        found = shutil.which(program)
        assert found is not None
        (folder / program).symlink_to(found)
    (folder / "python3.11").symlink_to(sys.executable)
    return folder


def test_help_names_every_promised_target() -> None:
    answer = make()
    assert answer.returncode == 0, answer.stderr
    assert set(re.findall(r"^  ([a-z]+)", answer.stdout, re.MULTILINE)) >= PROMISED


def test_what_is_missing_is_named_by_its_debian_package(bare: Path) -> None:
    answer = make("prerequisites", path=str(bare))
    assert answer.returncode != 0
    assert "install the Debian packages: openjdk-17-jre-headless maven" in answer.stderr


def test_without_python_its_packages_are_named(bare: Path) -> None:
    (bare / "python3.11").unlink()
    answer = make("prerequisites", "SYSTEM=/nonexistent", path=str(bare))
    assert "python3.11 python3.11-venv openjdk-17-jre-headless maven" in answer.stderr


def chosen(path: Path, system: Path) -> str:
    """Which Python make takes with this PATH and this folder of the distribution's programs."""
    shown = make("-n", "prerequisites", f"SYSTEM={system}", path=str(path)).stdout
    found: list[str] = re.findall(r'"(.*)" -c .*sys.version_info', shown)
    return ", ".join(found)


def test_the_distributions_python_comes_first_unless_it_cannot_make_environments(bare: Path, tmp_path: Path) -> None:
    system = tmp_path / "system"
    system.mkdir()
    assert chosen(bare, system) == "python3.11"
    (system / "python3.11").symlink_to("/bin/false")  # as without the package that has ``ensurepip``
    (system / "python3.12").symlink_to(sys.executable)
    assert chosen(bare, system) == "python3.11"
    (system / "python3.11").unlink()
    (system / "python3.11").symlink_to(sys.executable)
    assert chosen(bare, system) == f"{system}/python3.11"


def test_nothing_is_missing_when_all_is_there(bare: Path) -> None:
    for program in ("java", "mvn"):
        (bare / program).symlink_to("/bin/true")
    answer = make("prerequisites", path=str(bare))
    assert (answer.returncode, answer.stderr) == (0, "")


def test_demo_once_is_passed_on() -> None:
    assert "incidents demo --once" in make("-n", "demo", "ONCE=1").stdout
    assert "--once" not in make("-n", "demo").stdout
