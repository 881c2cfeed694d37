"""``python -m infra.fakes.servicenow --port 8097 [--folder DIR] [--user U] [--credential C]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from infra.fakes.servicenow.app import FakeServiceNow
from infra.fakes.store import Store


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8097,
    folder: Annotated[Path | None, typer.Option(help="Where records and counts are kept.")] = None,
    user: Annotated[str, typer.Option(help="The user of basic authentication.")] = "incidents",
    credential: Annotated[str, typer.Option(help="Password, bearer token and OAuth secret.")] = "servicenow-secret",
    limit_per_hour: Annotated[int, typer.Option(help="Calls an hour; 0: no limit.")] = 0,
    strict_queries: Annotated[bool, typer.Option("--strict-queries", help="Mistyped queries return no rows.")] = False,  # noqa: FBT002
) -> None:
    """Serve ServiceNow's Table API, as far as the connector uses it; ``/`` is a page to edit incidents by hand."""
    store = Store(folder / "servicenow.sqlite" if folder else None)
    fake = FakeServiceNow(store, user, credential, limit_per_hour=limit_per_hour, strict_queries=strict_queries)
    uvicorn.run(fake.app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(serve)
