"""The REST resources, one file each; every route asks the decision point (``dependencies.allowed``)."""

from __future__ import annotations

from api.rest import (
    actions,
    alerts,
    attachments,
    configuration,
    connectors,
    health,
    incidents,
    integrations,
    operations,
    rules,
    streams,
    sync,
    tickets,
    tokens,
)

ROUTERS = (
    health.router,
    incidents.router,
    actions.router,
    alerts.router,
    attachments.router,
    streams.router,
    operations.router,
    connectors.router,
    integrations.router,
    configuration.router,
    rules.router,
    tickets.router,
    sync.router,
    tokens.router,
)
