"""This machine: Python, what the local stack needs, disk, the key, and the processes that run here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from cli.diagnosis.finding import Finding
from connectors.kit.secrets import ConnectorSettings, SecretBox, SecretsSealed
from infra.local.errors import StackError
from infra.local.servers.kafka import find_java

OLDEST_PYTHON = (3, 11)
MEGABYTE = 2**20
_PLENTY = 5


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """The interpreter."""
    found = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return Finding("python", "failed", f"Python {found}", "install Python 3.11 or newer")
    return Finding("python", "ok", f"Python {found}")


def check_local_stack(*, is_needed: bool, which: Callable[[str], str | None] = shutil.which) -> Finding:
    """Java and Maven, which only a local Kafka needs."""
    if not is_needed:
        return Finding("java", "ok", "not needed: Kafka is elsewhere")
    if missing := [program for program in ("java", "mvn") if which(program) is None]:
        remedy = "install openjdk-17-jre-headless and maven, or name a broker with KAFKA_BOOTSTRAP_SERVERS"
        return Finding("java", "failed", f"not found: {', '.join(missing)}", remedy)
    try:
        java = find_java()
    except StackError as error:
        return Finding("java", "failed", str(error), "install openjdk-17-jre-headless or newer")
    return Finding("java", "ok", f"{java}, and mvn")


def check_disk(folder: Path, least_mb: int) -> Finding:
    """Free space where the local stack keeps its data."""
    while not folder.exists():
        folder = folder.parent
    free_mb = shutil.disk_usage(folder).free // MEGABYTE
    detail, remedy = f"{free_mb} MB free at {folder}", "make room: Kafka and PostgreSQL stop on a full disk"
    if free_mb >= _PLENTY * least_mb:
        return Finding("disk", "ok", detail)
    return Finding("disk", "failed" if free_mb < least_mb else "warning", detail, remedy)


def check_secret_key(settings: ConnectorSettings) -> Finding:
    """The key under which the secrets of integrations are stored."""
    try:
        SecretBox(settings)
    except SecretsSealed as error:
        remedy = "set INCIDENTS_SECRET_KEY to 32 random bytes in base64, the same for every process"
        return Finding("secret-key", "failed", str(error), remedy)
    return Finding("secret-key", "ok", "INCIDENTS_SECRET_KEY can be used")


def check_process(row: Mapping[str, Any]) -> Finding:
    """A process of the application, by its row of `incidents status` and its own answer to /health/ready."""
    name = f"process {row['name']}"
    if row["state"] != "running":
        remedy = "incidents run (or look at the orchestrator of containers, if it is not run from here)"
        return Finding(name, "warning", f"{row['state']} {row['reason']}".strip(), remedy)
    url = f"http://127.0.0.1:{row['port']}/health/ready"
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.TransportError as error:
        return Finding(name, "failed", f"{url} does not answer: {error}", f"incidents logs {row['name']}")
    if answer.is_success:
        return Finding(name, "ok", f"pid {row['pid']} is ready")
    return Finding(name, "failed", f"not ready: {_wrong(answer)}", f"incidents logs {row['name']}")


def _wrong(answer: httpx.Response) -> str:
    try:
        checks = answer.json()["checks"].items()
    except (ValueError, KeyError, AttributeError):
        return f"status {answer.status_code}"
    return "; ".join(f"{check}: {state}" for check, state in checks if state != "ok")
