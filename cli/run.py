"""`incidents run`: all processes of the application in the foreground."""

from __future__ import annotations

import sys
from contextlib import closing

from cli.exit_codes import ExitCode

COLOURS = {
    "worker": 32,
    "projector": 36,
    "dispatcher": 35,
    "scheduler": 33,
    "archiver": 31,
    "poller": 92,
    "simulator": 37,
    "api": 34,
    "supervisor": 1,
}  # ANSI SGR


def run() -> None:
    """Start all processes of the application, and start again what dies, until stopped.

    Each line of their output is printed with the process's name and appended to its log. Ctrl-C or SIGTERM stops all
    within 10 seconds. A second copy in the same folder is refused (exit code 4).
    """
    import asyncio

    from cli.errors import CommandError
    from infra.local import environment, stack
    from infra.local.supervisor import ProcessLogs, Supervisor

    opened = stack.open_stack()
    silent = stack.unanswered(opened)
    if silent:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in silent.items())
        raise CommandError(
            f"the servers must answer first, start them with `incidents up` ({reasons})", ExitCode.NOT_RUNNING
        )
    values = environment.load(opened.settings.home)

    with closing(ProcessLogs(opened.settings)) as files:

        def emit(name: str, line: str) -> None:
            _print(name, line)
            files.write(name, line)

        asyncio.run(Supervisor(opened.settings, values, emit).run())


def _print(name: str, line: str) -> None:
    label = f"{name:<10} |"
    if sys.stdout.isatty():
        label = f"\x1b[{COLOURS.get(name, 0)}m{label}\x1b[0m"
    sys.stdout.write(f"{label} {line}\n")
    sys.stdout.flush()
