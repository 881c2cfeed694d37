"""How to reach the stack: the file ``env`` that `incidents up` writes, under what the real environment says.

`up` writes KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL, S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY (of those servers that are
local), INCIDENTS_SECRET_KEY and INCIDENTS_SIGNING_KEY as KEY=value lines. A variable that is set in the environment
wins over the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from infra.local.secret_values import write_private
from infra.local.settings import StackSettings


def read(path: Path) -> dict[str, str]:
    """The KEY=value lines of a file; empty when there is none."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def write(path: Path, values: Mapping[str, str]) -> None:
    """Replace the file (mode 600)."""
    write_private(path, "".join(f"{key}={value}\n" for key, value in values.items()).encode())


def load(home: Path | None = None) -> dict[str, str]:
    """The whole environment of a process of the application: the file of `home`, overridden by the real environment.

    Without `home` the one of the settings (INCIDENTS_HOME, else ``.incidents`` here).
    """
    folder = home if home is not None else StackSettings().home
    real = {key: value for key, value in os.environ.items() if value}
    return {**read(folder / "env"), **real}


def apply(home: Path | None = None) -> None:
    """Put the file's values into this process's environment where they are not set, before settings are built."""
    os.environ.update(load(home))
