"""`incidents logs`: what servers and processes have written."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode

POLL_SECONDS = 0.2


def logs(
    name: Annotated[str, typer.Argument(help="A server or process; all of them when left out.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is appended.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many last lines of each.")] = 50,
) -> None:
    """Print the last lines of the logs under .incidents/logs."""
    from infra.local.processes import last_lines
    from infra.local.settings import StackSettings

    folder = StackSettings().log_dir
    paths = sorted(folder.glob(f"{name or '*'}.log"))
    if not paths:
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet"
        raise CommandError(f"no log of {name or 'anything'} in {folder} (there are: {known})", ExitCode.NOT_FOUND)
    positions = {path: path.stat().st_size for path in paths}
    for path in paths:
        if lines:
            _print(path, last_lines(path, lines), prefixed=len(paths) > 1)
    while follow:
        for path in paths:
            positions[path] = _print_appended(path, positions[path], prefixed=len(paths) > 1)
        sys.stdout.flush()
        time.sleep(POLL_SECONDS)


def _print(path: Path, text: str, *, prefixed: bool) -> None:
    for line in text.splitlines():
        sys.stdout.write(f"{path.stem:<10} | {line}\n" if prefixed else f"{line}\n")


def _print_appended(path: Path, position: int, *, prefixed: bool) -> int:
    """Print whole lines from `position` on and return where they end; a file that shrank was rotated and is new."""
    if not path.exists():
        return position
    if path.stat().st_size < position:
        position = 0
    with path.open("rb") as stream:
        stream.seek(position)
        content = stream.read()
    whole = content[: content.rfind(b"\n") + 1]
    _print(path, whole.decode(errors="replace"), prefixed=prefixed)
    return position + len(whole)
