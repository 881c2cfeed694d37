"""Every command of `incidents`: one line each.

A target is ``module:attribute``: a function (one command) or a ``typer.Typer`` (a group of commands). A command's module
is imported for every start of `incidents`, for its help; so it imports only typer and the standard library at the top
and everything else in the function that runs (a test holds this).
"""

from __future__ import annotations

from typing import NamedTuple

STACK = "Local stack"
PROCESSES = "Processes"
DATA = "Set up and operate"
USE = "Use and watch"


class Command(NamedTuple):
    """A command's name, where it is, and the heading under which the help lists it."""

    name: str
    target: str
    panel: str


COMMANDS: tuple[Command, ...] = (
    Command("up", "cli.up:up", STACK),
    Command("down", "cli.down:down", STACK),
    Command("status", "cli.status:status", STACK),
    Command("logs", "cli.logs:logs", STACK),
    Command("run", "cli.run:run", PROCESSES),
)
