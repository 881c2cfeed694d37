"""Secrets are made once and kept private; the environment wins over the file."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local import environment
from infra.local.secret_values import load_or_make, write_private


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make(path) == made
    assert len(base64.b64decode(made.secret_key, validate=True)) == 32
    assert made.postgres_password not in repr(made)
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.json"]


def test_each_home_has_its_own_secrets(tmp_path: Path) -> None:
    assert load_or_make(tmp_path / "a.json") != load_or_make(tmp_path / "b.json")


def test_secrets_that_another_command_made_first_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secrets.json"
    first = load_or_make(path)
    monkeypatch.setattr(Path, "exists", lambda _self: False)  # it looked before the other had written
    assert load_or_make(path) == first
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.json"]


def test_a_private_file_is_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.write(tmp_path / "env", {"S3_ENDPOINT": "http://file", "INCIDENTS_SECRET_KEY": "a=b=="})
    monkeypatch.delenv("INCIDENTS_SECRET_KEY", raising=False)
    monkeypatch.setenv("S3_ENDPOINT", "http://real")
    loaded = environment.load(tmp_path)
    assert (loaded["S3_ENDPOINT"], loaded["INCIDENTS_SECRET_KEY"]) == ("http://real", "a=b==")
    monkeypatch.setenv("S3_ENDPOINT", "")
    assert environment.load(tmp_path)["S3_ENDPOINT"] == "http://file", "empty means not set, as for the settings"


def test_apply_puts_the_file_into_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.write(tmp_path / "env", {"INCIDENTS_TEST_ONLY": "1"})
    monkeypatch.setenv("INCIDENTS_TEST_ONLY", "")
    monkeypatch.setenv("INCIDENTS_HOME", str(tmp_path))
    environment.apply()
    assert environment.load()["INCIDENTS_TEST_ONLY"] == "1"


def test_no_file_is_an_empty_one(tmp_path: Path) -> None:
    assert environment.read(tmp_path / "env") == {}


def test_many_readers_agree_on_one_set(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    load_or_make(path)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load_or_make, [path] * 32))) == 1
