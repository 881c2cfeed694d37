"""``POST /api/v1/webhooks/{connector}/{integration_id}``: raw body, verified before anything else is looked at."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.ingest.acceptance import accept
from api.ingest.bodies import read_body, strict_json
from api.ingest.dependencies import IngestDependencies
from api.problems import Problem, unavailable
from connectors.kit.contract import Delivery, Integration, Receives, Unparseable
from connectors.registry import CONNECTORS
from streams.domain.errors import Transient


async def receive(needs: IngestDependencies, request: Request) -> Response:
    """Take one delivery. The order of the checks is part of the contract: nobody learns more than they may.

    Size (413), integration (404), signature (401), content type (415), backlog (503), JSON (400),
    shape (400), then 202 or 503.
    """
    connector, integration_id = request.path_params["connector"], request.path_params["integration_id"]
    body = await read_body(request, needs.max_body_bytes)
    integration = await known_integration(needs, connector, integration_id)
    entry = CONNECTORS.get(connector)
    if integration is None or entry is None or entry.receives is None:
        raise Problem(404, "unknown-integration")
    delivery = Delivery(body, request.headers, request.query_params)
    now = int(needs.clock() * 1000)
    if not entry.receives.verify(delivery, integration.valid("webhook", now), now):
        raise Problem(401, "unauthorized")
    return await take(needs, entry.receives, integration, delivery)


async def take(needs: IngestDependencies, receives: Receives, integration: Integration, delivery: Delivery) -> Response:
    """Parse and accept a delivery that is known to be genuine."""
    if delivery.media_type not in receives.content_types:
        allowed = ", ".join(sorted(receives.content_types))
        raise Problem(415, "unsupported-media-type", detail=f"send {allowed}", headers={"Accept": allowed})
    try:
        needs.admission.check(integration.tenant_id)
    except Transient as error:
        raise unavailable(error) from error
    document = strict_json(delivery.body)
    try:
        messages = receives.parse(integration, delivery, document)
    except Unparseable as error:
        extensions: dict[str, Any] = {"index": error.index} if error.index >= 0 else {}
        raise Problem(400, "invalid-event", detail=error.detail, **extensions) from error
    return await accept(needs, integration.connector, messages)


async def known_integration(needs: IngestDependencies, connector: str, integration_id: str) -> Integration | None:
    """The integration if it is one of this connector."""
    try:
        found = await needs.directory.resolve(integration_id)
    except Transient as error:
        raise unavailable(error) from error
    return found if found is not None and found.connector == connector else None
