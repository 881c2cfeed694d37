"""Peers as processes: installed into a cache that outlives the run, started with a log, ended with their children."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import psycopg
from psycopg import sql

from bench.peers.contract import LOOPBACK, PeerFailedError
from infra.local.ports import is_free

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".incidents" / "peers"
READY_S, STOP_S = 300.0, 15.0
_PORTS = range(23_000, 24_000)


def environment(lock: Path) -> Path:
    """A virtual environment with what a lock file names, made where it is not there yet; its ``bin`` folder."""
    folder = CACHE / f"{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)])
        run([str(folder / "bin" / "pip"), "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)])
        (folder / "ready").touch()
    return folder / "bin"


def run(command: Sequence[str], folder: Path | None = None) -> str:
    """What a command prints; raises `PeerFailedError` with the end of its errors."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise PeerFailedError(f"`{relative(' '.join(command))}`: {_end(done.stderr or done.stdout)}")
    return done.stdout


def relative(text: str) -> str:
    """Without the folder in which this was checked out and the addresses of registries."""
    return re.sub(r"https?://\S+", "…", text.replace(f"{ROOT}/", ""))


def _end(text: str) -> str:
    return " / ".join(line.strip() for line in relative(text).strip().splitlines()[-4:])[-600:]


@contextmanager
def process(
    command: Sequence[str], folder: Path, url: str, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """The pid of a program that runs in ``folder`` and answers at ``url``; it and its children are ended at the end."""
    path = folder / "log"
    with path.open("wb") as log:
        child = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **(environment or {})}, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_S
        while not _answers(url):
            if child.poll() is not None or time.monotonic() > deadline:
                raise PeerFailedError(f"does not start; its log ends: {_end(path.read_text(errors='replace'))}")
            time.sleep(0.2)
        yield child.pid
    finally:
        _end_tree(child)


def _end_tree(child: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        tree = psutil.Process(child.pid).children(recursive=True)
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for one in tree:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel gives to outgoing connections."""
    found = next(filter(is_free, _PORTS), None)
    if found is None:
        raise PeerFailedError("no free port was found")
    return found


def new_database(server_url: str, name: str) -> str:
    """An empty database beside the one that the URL names; its URL."""
    identifier = sql.Identifier(name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
    return f"{server_url.rpartition('/')[0]}/{name}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def address(port: int) -> str:
    """The base URL of what listens there."""
    return f"http://{LOOPBACK}:{port}"
