"""`incidents tail`: the events of a tenant as they are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.remote import DEFAULT_URL, Token, Url

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

RETRY_S = 1.0


def command(
    url: Url = DEFAULT_URL,
    token: Token = "",
    incident: Annotated[str, typer.Option(help="Only this incident: id or number, e.g. INC-12.")] = "",
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only this type; repeat for more.")] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Begin behind this cursor; 0: with the first event.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Stop after so many events; 0: never.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Print events as they are recorded, until interrupted; a lost connection is resumed without a gap."""
    import orjson

    path = f"/api/v1/incidents/{incident}/stream" if incident else "/api/v1/events/stream"
    events = _events(url.rstrip("/") + path, token, type_ or [], after)
    for shown, event in enumerate(events, start=1):
        typer.echo(orjson.dumps(event).decode() if as_json else line(event))
        if shown == limit:
            return


def line(event: dict[str, Any]) -> str:
    """An event in one line for people."""
    short = str(event["type"]).removeprefix("com.incidents.").removesuffix(".v1")
    data = event.get("data") or {}
    said = next(
        (str(data[name]) for name in ("title", "to", "text", "assignee", "severity", "file_name") if data.get(name)), ""
    )
    if not said and data.get("alerts"):
        said = f"{len(data['alerts'])} x {data['alerts'][0].get('title', '')}"
    return f"{event['tenantsequence']:>8}  {event['time']}  {str(event['subject'])[:8]}  {short:<22}  {said}"


def _events(url: str, token: str, types: list[str], after: int | None) -> Iterator[dict[str, Any]]:
    import time

    import httpx

    from cli.output import print_error
    from cli.remote import headers, not_running, refusal

    sent = headers(token)
    reached = False
    with httpx.Client(timeout=httpx.Timeout(5.0, read=60.0)) as client:
        while True:
            parameters: dict[str, Any] = {"types": types} | ({} if after is None else {"after": after})
            try:
                with client.stream("GET", url, params=parameters, headers=sent) as response:
                    if response.status_code != httpx.codes.SERVICE_UNAVAILABLE and response.is_error:
                        response.read()
                        raise refusal(response)
                    reached = True
                    for id_, event in _parse(response):
                        after = id_ if id_ is not None else after
                        if event is not None:
                            yield event
            except httpx.TransportError as error:
                if not reached:
                    raise not_running(url) from error
                print_error(f"the connection was lost ({type(error).__name__}); resuming behind {after}")
            time.sleep(RETRY_S)


def _parse(response: httpx.Response) -> Iterator[tuple[int | None, dict[str, Any] | None]]:
    """Ids and events of a stream (WHATWG HTML, section 9.2.6); ``None`` for an id that came without an event."""
    import orjson

    fields: dict[str, str] = {}
    for text in response.iter_lines():
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        id_ = int(fields["id"]) if fields.get("id", "").isdigit() else None
        is_event = "data" in fields and fields.get("event") != "reset"
        yield id_, orjson.loads(fields["data"]) if is_event else None
        fields = {}
