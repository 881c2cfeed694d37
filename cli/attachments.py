"""`incidents attachments`: the files and links of an incident: listed, downloaded, taken away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.remote import DEFAULT_URL, Token, Url

if TYPE_CHECKING:
    import httpx

_PAGE = 500
Incident = Annotated[str, typer.Argument(help="Id or number, e.g. INC-12.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Of the file or link, as the list shows it.")]

app = typer.Typer(help="Files and links of an incident: list, download, remove.")


@app.command("list")
def show(
    incident: Incident,
    as_of: Annotated[str, typer.Option("--as-of", help="As it was at this time (RFC 3339).")] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the files and links of an incident, the newest first."""
    from cli.output import print_json, print_table

    with _client(url, token) as client:
        files, links = (_all(client, url, f"/api/v1/incidents/{incident}/{what}", as_of) for what in _KINDS)
    if as_json:
        print_json({"attachments": files, "links": links})
        return
    rows = [
        (one["attachment_id"], one["file_name"], f"{one['size']} bytes", one["actor"], one["problem"] or one["state"])
        for one in files
    ]
    rows += [(one["link_id"], one["title"], one["url"], one["actor"], "link") for one in links]
    print_table(("id", "name", "what", "by", "state"), rows)


_KINDS = ("attachments", "links")


@app.command()
def download(
    incident: Incident,
    attachment_id: Id,
    to: Annotated[Path, typer.Option("--to", help="The file to write; it must not be there yet.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Download a file of an incident."""
    import os

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    with _client(url, token) as client:
        content = _ask(client, url, "GET", f"/api/v1/incidents/{incident}/attachments/{attachment_id}").content
    try:
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise CommandError(f"{to} is there already", ExitCode.REFUSED) from error
    typer.echo(f"{len(content)} bytes in {to}")


@app.command()
def remove(incident: Incident, item_id: Id, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Take a file or a link away from an incident; the timeline keeps that it was there."""
    path = f"/api/v1/incidents/{incident}"
    with _client(url, token) as client:
        files = {one["attachment_id"] for one in _all(client, url, f"{path}/attachments", "")}
        kind = "attachments" if item_id in files else "links"
        _ask(client, url, "DELETE", f"{path}/{kind}/{item_id}")
    typer.echo("removed")


def _client(url: str, token: str) -> httpx.Client:
    import httpx

    from cli.remote import headers

    return httpx.Client(base_url=url, headers=headers(token), timeout=60)


def _ask(client: httpx.Client, url: str, method: str, path: str, **parameters: Any) -> httpx.Response:
    import httpx

    from cli.remote import not_running, refusal

    try:
        response = client.request(method, path, params=parameters)
    except httpx.TransportError as error:
        raise not_running(url) from error
    if response.is_error:
        raise refusal(response)
    return response


def _all(client: httpx.Client, url: str, path: str, as_of: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        chosen = {"limit": _PAGE} | ({"after": after} if after else {}) | ({"as_of": as_of} if as_of else {})
        page = _ask(client, url, "GET", path, **chosen).json()
        found += page["items"]
        after = page["next"]
    return found
