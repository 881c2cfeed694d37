"""`incidents watch`: a live board in the terminal, fed by the GraphQL subscription as a dashboard would be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.remote import DEFAULT_URL, Token, Url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rich.console import RenderableType

RETRY_S = 1.0
_SUBSCRIPTION = """
subscription Board($after: String) {
  boardUpdated(after: $after) {
    cursor
    board { columns { status count incidents {
      key title severity service assignee acknowledgedBy alertCount firingCount updatedAt } }
      sync { openConflicts waitingConflicts driftedFields ticketsFailed } }
  }
}
"""
_STYLES = {"SEV-1": "bold red", "SEV-2": "red", "SEV-3": "yellow", "SEV-4": "cyan", "SEV-5": "dim"}


def command(
    url: Url = DEFAULT_URL,
    token: Token = "",
    updates: Annotated[int, typer.Option(min=0, help="Stop after so many updates; 0: never.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each update.")] = False,
) -> None:
    """Show the board as it changes, until interrupted; a lost connection is resumed with the last cursor."""
    from cli.remote import headers

    headers(token)
    asyncio.run(_watch(url, token, updates, as_json=as_json))


async def _watch(url: str, token: str, updates: int, *, as_json: bool) -> None:
    from contextlib import nullcontext

    from rich.live import Live

    from cli.output import print_json, standard_output

    console = standard_output()
    live = nullcontext() if as_json else Live(console=console, auto_refresh=False, screen=console.is_terminal)
    seen = 0
    with live as display:
        async for update in boards(url, token):
            if display is None:
                print_json(update)
            else:
                display.update(render(update["board"], url), refresh=True)
            seen += 1
            if seen == updates:
                return


async def boards(url: str, token: str) -> AsyncIterator[dict[str, Any]]:
    """Updates of the board over ``graphql-transport-ws``, across reconnections.

    Raises ``CommandError`` when the API never answered or refuses the token.
    """
    from websockets.exceptions import ConnectionClosed, InvalidHandshake

    from cli.remote import not_running

    cursor: str | None = None
    reached = False
    while True:
        try:
            async for update in _session(url, token, cursor):
                reached, cursor = True, update["cursor"]
                yield update
        except (OSError, InvalidHandshake) as error:
            if not reached:
                raise not_running(url) from error
        except ConnectionClosed as error:
            _raise_if_forbidden(error)
        await asyncio.sleep(RETRY_S)


def _raise_if_forbidden(error: Any) -> None:
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    if error.rcvd is not None and error.rcvd.code in {4401, 4403}:
        raise CommandError("the API refuses this token", ExitCode.REFUSED) from error


async def _session(url: str, token: str, cursor: str | None) -> AsyncIterator[dict[str, Any]]:
    """One connection (https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md)."""
    import orjson
    from websockets.asyncio.client import connect

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    address = f"ws{url.rstrip('/').removeprefix('http')}/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"], max_size=8_388_608) as socket:  # type: ignore[list-item]  # a NewType of str
        await socket.send(
            orjson.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}).decode()
        )
        subscribe = {"query": _SUBSCRIPTION, "variables": {"after": cursor}}
        async for text in socket:
            message = orjson.loads(text)
            match message["type"]:
                case "connection_ack":
                    await socket.send(orjson.dumps({"id": "1", "type": "subscribe", "payload": subscribe}).decode())
                case "next" if message["payload"].get("data"):
                    yield message["payload"]["data"]["boardUpdated"]
                case "next" | "error":
                    errors = message["payload"].get("errors") if message["type"] == "next" else message["payload"]
                    code = (errors[0].get("extensions") or {}).get("code", "")
                    if code in {"forbidden", "unauthenticated"}:
                        raise CommandError(f"the API refuses: {errors[0]['message']}", ExitCode.REFUSED)
                    return
                case "ping":
                    await socket.send('{"type":"pong"}')
                case "complete":
                    return


def render(board: dict[str, Any], url: str) -> RenderableType:
    """The board as a table for each status."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    tables: list[RenderableType] = [Text(f"Incidents at {url}", style="bold")]
    for column in board["columns"]:
        table = Table(
            title=f"{column['status']} ({column['count']})", title_justify="left", expand=True, show_edge=False
        )
        for name in ("number", "severity", "title", "service", "who", "alerts", "firing", "updated"):
            table.add_column(name, ratio=4 if name == "title" else None, no_wrap=True)
        for incident in column["incidents"]:
            table.add_row(
                incident["key"],
                Text(incident["severity"], style=_STYLES.get(incident["severity"], "")),
                escape(incident["title"]),
                escape(incident["service"]),
                escape(incident["assignee"] or incident["acknowledgedBy"] or ""),
                str(incident["alertCount"]),
                str(incident["firingCount"]),
                str(incident["updatedAt"])[11:19],
            )
        tables.append(table)
    if any(board["sync"].values()):
        tables.append(Text(_sync(board["sync"]), style="yellow"))
    return Group(*tables)


def _sync(sync: dict[str, int]) -> str:
    """How tickets in other systems stand, where not all is well."""
    waiting = f"{sync['openConflicts']} open conflicts ({sync['waitingConflicts']} wait for a decision)"
    return f"Tickets: {waiting}, {sync['driftedFields']} drifted fields, {sync['ticketsFailed']} failed"
