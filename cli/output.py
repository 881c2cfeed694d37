"""Printing: data to standard output, everything else to standard error, colour only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


WIDTH = 160
"""Columns of tables that go to a file or a pipe."""


def print_json(value: object) -> None:
    """One JSON value on one line of standard output, for programs."""
    import orjson

    sys.stdout.write(orjson.dumps(value, default=str).decode() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table for people, on standard output."""
    from rich.table import Table

    table = Table(*columns, title=title or None)
    for row in rows:
        table.add_row(*row)
    standard_output().print(table)


def standard_output() -> Console:
    """The console for data that people read."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH)


def standard_error() -> Console:
    """The console for progress and errors."""
    from rich.console import Console

    return Console(stderr=True)


def print_error(message: str) -> None:
    """An error, as one message on standard error."""
    standard_error().print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
