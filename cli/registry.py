"""Every command of `incidents`: one line each.

A target is ``module:attribute``: a function (one command) or a ``typer.Typer`` (a group of commands). Each module
is imported at every start of `incidents`, for its help; so at the top it imports only typer and the standard
library, and everything else in the function that runs (a test holds this).
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
    Command("worker", "cli.worker:command", PROCESSES),
    Command("api", "cli.api:command", PROCESSES),
    Command("dispatcher", "cli.dispatcher:command", PROCESSES),
    Command("integration", "cli.integration:app", DATA),
    Command("projector", "cli.projector:command", PROCESSES),
    Command("scheduler", "cli.scheduler:command", PROCESSES),
    Command("archiver", "cli.archiver:command", PROCESSES),
    Command("poller", "cli.poller:command", PROCESSES),
    Command("simulator", "cli.simulator:command", PROCESSES),
    Command("archive", "cli.archive:app", DATA),
    Command("verify", "cli.verify:command", DATA),
    Command("migrate", "cli.migrate:command", DATA),
    Command("topics", "cli.topics:command", DATA),
    Command("rebuild", "cli.rebuild:command", DATA),
    Command("replay", "cli.replay:command", DATA),
    Command("erase", "cli.erase:command", DATA),
    Command("dlq", "cli.dlq:app", DATA),
    Command("doctor", "cli.doctor:command", DATA),
    Command("tenant", "cli.tenant:app", DATA),
    Command("torture", "cli.torture:command", DATA),
    Command("token", "cli.token:app", DATA),
    Command("rules", "cli.rule_stages:app", DATA),
    Command("apply-rules", "cli.apply_rules:command", DATA),
    Command("sync", "cli.sync:app", DATA),
    Command("what-if", "cli.what_if:command", USE),
    Command("demo", "cli.demo:command", USE),
    Command("send", "cli.send:command", USE),
    Command("show", "cli.show:command", USE),
    Command("attach", "cli.attach:attach", USE),
    Command("link", "cli.attach:link", USE),
    Command("attachments", "cli.attachments:app", USE),
    Command("tail", "cli.tail:command", USE),
    Command("watch", "cli.watch:command", USE),
)
