"""`incidents status`: what runs."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.exit_codes import ExitCode

MEGABYTE = 2**20


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: services, processes.")] = False,
) -> None:
    """Show servers and processes: name, pid, port, state, memory. Exit code 3 where a server does not run."""
    from cli.output import print_json, standard_output
    from infra.local import stack
    from infra.local.status import status as read_status

    state = read_status(stack.open_stack())
    if as_json:
        print_json(state)
    else:
        standard_output().print(_table([*state["services"], *state["processes"]]))
    if any(row["state"] not in {"running", "external"} for row in state["services"]):
        raise typer.Exit(ExitCode.NOT_RUNNING)


def _table(rows: list[dict[str, object]]) -> object:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "state", "port", "pid", "memory", "restarts", "note")
    colours = {"running": "green", "external": "green", "stopped": "dim", "restarting": "yellow"}
    for row in rows:
        state, memory = str(row["state"]), row["rss_bytes"]
        table.add_row(
            str(row["name"]),
            Text(state, style=colours.get(state, "red")),
            str(row["port"] or ""),
            str(row["pid"] or ""),
            f"{memory / MEGABYTE:.0f} MB" if isinstance(memory, int) else "",
            str(row["restarts"] or ""),
            Text(str(row["reason"])),
        )
    return table
