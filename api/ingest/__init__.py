"""Where the outside's events come in: provider webhooks and CloudEvents, answered 202 once Kafka has them (R1)."""

from __future__ import annotations

from api.ingest.dependencies import IngestDependencies
from api.ingest.routes import routes

__all__ = ["IngestDependencies", "routes"]
