"""`incidents attach` and `incidents link`: put a file or a link on an incident."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.remote import DEFAULT_URL, Token, Url

if TYPE_CHECKING:
    import httpx

Incident = Annotated[str, typer.Argument(help="Id or number, e.g. INC-12.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def attach(
    incident: Incident,
    file: Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False, readable=True)],
    name: Annotated[str, typer.Option(help="What it is called; else as on this machine.")] = "",
    media_type: Annotated[str, typer.Option("--type", help="Its media type; else by its name.")] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Attach a file to an incident; it goes to the incident's tickets, too."""
    import mimetypes

    kind = media_type or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    made = _post(
        url, token, f"/api/v1/incidents/{incident}/attachments", content=file.read_bytes(),
        params={"file_name": name or file.name}, headers={"Content-Type": kind},
    )  # fmt: skip
    _say(made, as_json, f"{made.get('attachment_id', '')}  {made.get('file_name', '')}  {made.get('size', '')} bytes")


def link(
    incident: Incident,
    address: Annotated[str, typer.Argument(metavar="URL", help="An address, http or https.")],
    title: Annotated[str, typer.Option(help="What people read; else the address.")] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: AsJson = False,
) -> None:
    """Add a link to an incident, or give one another title; it goes to the incident's tickets, too."""
    body = {"url": address, "title": title}
    made = _post(url, token, f"/api/v1/incidents/{incident}/links", json=body)
    _say(made, as_json, f"{made.get('link_id', '')}  {made.get('title', '')}  {made.get('url', '')}")


def _say(made: dict[str, Any], as_json: bool, text: str) -> None:
    from cli.output import print_json

    if as_json:
        print_json(made)
    elif made.get("status") == "pending":
        typer.echo(f"taken, not decided yet: {made['operation']}")
    else:
        typer.echo(text)


def _post(url: str, token: str, path: str, **request: Any) -> dict[str, Any]:
    """Send a write under a key of its own; raises ``CommandError`` for a refusal."""
    import uuid

    import httpx

    from cli.remote import headers, not_running, refusal

    sent = {**headers(token), **request.pop("headers", {}), "Idempotency-Key": str(uuid.uuid4())}
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            response: httpx.Response = client.post(path, headers=sent, **request)
    except httpx.TransportError as error:
        raise not_running(url) from error
    if response.is_error:
        raise refusal(response)
    found: dict[str, Any] = response.json()
    return found
