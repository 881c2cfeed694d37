"""``python -m infra.fakes.incidentio --port 8096 [--folder DIR] [--token T]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from infra.fakes.incidentio.app import FakeIncidentIo
from infra.fakes.store import Store


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8096,
    folder: Annotated[Path | None, typer.Option(help="Where incidents and counts are kept.")] = None,
    token: Annotated[str, typer.Option(help="The API key that callers must show.")] = "incidentio-token",  # noqa: S107  of a fake
    limit_per_minute: Annotated[int, typer.Option(help="Calls a minute; 0: no limit.")] = 1_200,
) -> None:
    """Serve incident.io's API, as far as the connector uses it; ``/`` is a page to edit incidents by hand."""
    store = Store(folder / "incidentio.sqlite" if folder else None)
    fake = FakeIncidentIo(store, token, limit_per_minute=limit_per_minute)
    uvicorn.run(fake.app(), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(serve)
