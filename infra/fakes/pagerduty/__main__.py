"""``python -m infra.fakes.pagerduty --port 8099 [--folder DIR] [--token T] [--from-email E]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from infra.fakes.pagerduty.app import FakeApi
from infra.fakes.pagerduty.state import FakeAccount


def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8099,
    folder: Annotated[Path | None, typer.Option(help="Where incidents and counts are kept.")] = None,
    token: Annotated[str, typer.Option(help="The API token that callers must show; empty: any.")] = "",
    from_email: Annotated[str, typer.Option(help="The From header that callers must send; empty: any.")] = "",
) -> None:
    """Serve PagerDuty's REST API, as far as the connector uses it."""
    app = FakeApi(FakeAccount(folder), token, from_email).app()
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    typer.run(serve)
