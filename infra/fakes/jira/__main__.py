"""``python -m infra.fakes.jira --port 8098 [--folder DIR] [--email E] [--token T]``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from infra.fakes.jira.access import Access
from infra.fakes.jira.app import FakeJira
from infra.fakes.store import Store


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8098,
    folder: Annotated[Path | None, typer.Option(help="Where issues and counts are kept.")] = None,
    email: Annotated[str, typer.Option(help="The account of the API token.")] = "incidents@example.com",
    token: Annotated[str, typer.Option(help="The API token.")] = "jira-token",  # noqa: S107  of a fake
    project: Annotated[str, typer.Option(help="Key of the project.")] = "OPS",
    lag_s: Annotated[float, typer.Option(help="How far search lags behind, in seconds.")] = 1.0,
) -> None:
    """Serve Jira's REST API, as far as the connector uses it; ``/`` is a page to edit issues by hand."""
    store = Store(folder / "jira.sqlite" if folder else None)
    fake = FakeJira(store, Access(email, token, time.time), project=project, lag_s=lag_s)
    uvicorn.run(fake.app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(serve)
