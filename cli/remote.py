"""How commands reach a running API: its address, the token, and what its refusals mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import httpx

    from cli.errors import CommandError

Url = Annotated[str, typer.Option(envvar="INCIDENTS_URL", help="Address of the API.")]
Token = Annotated[str, typer.Option(envvar="INCIDENTS_TOKEN", help="API token (incidents token create).")]
DEFAULT_URL = "http://127.0.0.1:8080"


def headers(token: str) -> dict[str, str]:
    """The credential of a request; raises ``CommandError`` when there is none."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    if not token:
        raise CommandError("a token is needed: --token or INCIDENTS_TOKEN (incidents token create)", ExitCode.USAGE)
    return {"Authorization": f"Bearer {token}"}


def refusal(response: httpx.Response) -> CommandError:
    """An answer other than 2xx as the error of a command; the body must have been read."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    try:
        document = response.json()
        said = f"{document.get('title', '')}: {document.get('detail', '')}"
    except ValueError:
        said = response.text[:200]
    codes = {404: ExitCode.NOT_FOUND, 503: ExitCode.FAILED}
    return CommandError(
        f"the API answered {response.status_code}: {said}", codes.get(response.status_code, ExitCode.REFUSED)
    )


def not_running(url: str) -> CommandError:
    """Nobody answers at the address."""
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode

    return CommandError(f"no API answers at {url} (incidents run)", ExitCode.NOT_RUNNING)
