"""`incidents send`: CloudEvents, or a provider's own payloads, over HTTP as anybody else would send them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.remote import DEFAULT_URL, Token, Url

_BATCH = 100


def command(
    file: Annotated[Path, typer.Argument(help="A JSON value, a JSON array or JSON lines; '-': standard input.")],
    url: Url = DEFAULT_URL,
    token: Token = "",
    integration: Annotated[
        str, typer.Option(help="Send provider payloads to this integration's webhook (bearer secret in --token).")
    ] = "",
    connector: Annotated[str, typer.Option(help="The integration's connector, e.g. alertmanager.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send CloudEvents in batches of 100, or with --connector and --integration each document as a webhook."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from cli.output import print_json

    if bool(integration) != bool(connector):
        raise CommandError("--connector and --integration go together", ExitCode.USAGE)
    documents = _documents(file)
    if connector:
        path, media_type = f"/api/v1/webhooks/{connector}/{integration}", "application/json"
        bodies: list[Any] = documents
    else:
        path, media_type = "/api/v1/events", "application/cloudevents-batch+json"
        bodies = [documents[i : i + _BATCH] for i in range(0, len(documents), _BATCH)]
    for body in bodies:
        _post(url.rstrip("/") + path, token, media_type, body)
    if as_json:
        print_json({"documents": len(documents), "requests": len(bodies)})
    else:
        typer.echo(f"{len(documents)} sent in {len(bodies)} requests, all durable", err=True)


def _documents(file: Path) -> list[Any]:
    import sys

    import orjson

    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}", ExitCode.USAGE) from error
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            return [orjson.loads(line) for line in content.splitlines() if line.strip()]
        except orjson.JSONDecodeError as error:
            raise CommandError(f"{file} is neither JSON nor JSON lines: {error}", ExitCode.USAGE) from error
    return value if isinstance(value, list) else [value]


def _post(url: str, token: str, media_type: str, body: Any) -> None:
    """Send one request; while the API is overloaded (503), again, a few times."""
    import httpx
    import orjson
    from tenacity import RetryError, Retrying, retry_if_result, stop_after_attempt, wait_exponential

    from cli.remote import headers, not_running, refusal

    sent = {**headers(token), "Content-Type": media_type}
    content = orjson.dumps(body)
    retrying = Retrying(
        retry=retry_if_result(lambda response: response.status_code == httpx.codes.SERVICE_UNAVAILABLE),
        stop=stop_after_attempt(5),
        wait=wait_exponential(0.5, max=5),
    )
    try:
        response = retrying(httpx.post, url, content=content, headers=sent, timeout=30)
    except RetryError as error:
        raise refusal(error.last_attempt.result()) from error
    except httpx.TransportError as error:
        raise not_running(url) from error
    if response.is_error:
        raise refusal(response)
