"""`incidents api`: one API process."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    host: Annotated[str, typer.Option(help="Address to listen on (INCIDENTS_API_HOST).")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port (INCIDENTS_API_PORT); 0: as configured.")] = 0,
) -> None:
    """Serve webhooks, REST, GraphQL and event streams until stopped."""
    from api.app import Backends, create_app
    from api.server import server
    from api.settings import ApiSettings
    from cli.errors import CommandError
    from streams.runtime import collector
    from streams.runtime.logging import configure

    configure("api")
    settings = ApiSettings()
    settings = settings.model_copy(update={"host": host or settings.host, "port": port or settings.port})
    serving = server(create_app(settings, Backends.from_environment()), settings)
    collector.spare()
    serving.run()
    if serving.failure:
        raise CommandError(f"the API stopped, to be started again: {serving.failure}")
    if not serving.started:
        raise CommandError(f"the API did not start on {settings.host}:{settings.port}; see the log above")
