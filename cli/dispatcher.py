"""`incidents dispatcher`: the process that carries side effects out at the providers."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    metrics_port: Annotated[
        int, typer.Option(envvar="INCIDENTS_METRICS_PORT", help="Port of health and metrics; 0: none.")
    ] = 0,
) -> None:
    """Carry planned side effects out at the providers until stopped; any number may run side by side.

    SIGTERM lets what is under way finish.
    """
    from functools import partial

    from cli.provider_process import run
    from connectors.kit.dispatcher import Dispatcher, DispatcherSettings
    from connectors.kit.file_attempt import Store
    from infra.local.environment import apply
    from streams.runtime.attachment_storage import AttachmentStorage
    from streams.runtime.object_storage import ObjectStorage
    from streams.runtime.settings import AttachmentSettings, ObjectStorageSettings

    apply()
    held = AttachmentStorage(ObjectStorage(ObjectStorageSettings()))
    store = Store(held, AttachmentSettings().max_bytes)
    run("dispatcher", metrics_port, partial(Dispatcher, store=store), DispatcherSettings)
