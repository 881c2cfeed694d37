"""Progress of several things at once: a live line each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.output import standard_error

FINAL = ("running", "external", "stopped")  # how the last word about a thing begins


@contextmanager
def steps() -> Iterator[Callable[[str, str], None]]:
    """Gives a function ``report(name, what happens to it now)``, to be called from any thread."""
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

    console = standard_error()
    if not console.is_terminal:
        started = time.monotonic()

        def plain(name: str, what: str) -> None:
            line = f"{time.monotonic() - started:6.1f} s  {name:<10} {what}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield plain
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def live(name: str, what: str) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task("", total=1)
            done = 1 if what.startswith(FINAL) else 0
            progress.update(tasks[name], description=f"{name:<10} {what}", completed=done)

        yield live
