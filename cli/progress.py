"""Progress of several things at once: a live line each on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.output import standard_error

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

SAY_EVERY_S = 5.0
FINAL = ("running", "external", "stopped")  # how the last word about a thing begins


@contextmanager
def steps() -> Iterator[Callable[[str, str], None]]:
    """Gives a function ``report(name, what happens to it now)``, to be called from any thread."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

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


class _Offsets:
    """Phases of a long run: a bar with rate and time left where the length is known."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._console = bar.console
        self._total = 0
        self._began = self._said = time.monotonic()

    def phase(self, what: str, total: int = 0) -> None:
        """Something new begins."""
        self._total, self._began = total, time.monotonic()
        if not self._console.is_terminal:
            self._console.print(what, markup=False, highlight=False)
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total or None)

    def at(self, done: int) -> None:
        """How much of it is done."""
        if self._task is not None:
            self._bar.update(self._task, completed=done)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said >= SAY_EVERY_S:
            self._said = now
            rate = done / max(now - self._began, 0.001)
            left = f", {(self._total - done) / rate:.0f} s left" if rate else ""
            self._console.print(f"  {done:,} of {self._total:,}, {rate:,.0f}/s{left}", markup=False, highlight=False)


@contextmanager
def offsets() -> Iterator[_Offsets]:
    """Gives the progress of a run through the log (a ``projections.rebuild.Progress``)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """Offsets a second."""

        def render(self, task: Task) -> Text:
            """As rich asks for it."""
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f}/s" if speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=standard_error(), transient=True) as bar:
        yield _Offsets(bar)
