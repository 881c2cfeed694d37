"""``POST /api/v1/events``: CloudEvents with an API token, and the preview of a mapping."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api.ingest.bodies import read_body, strict_json
from api.ingest.dependencies import IngestDependencies, Principal
from api.ingest.webhooks import known_integration, take
from api.problems import Problem
from connectors.cloudevents.inbound import CloudEventsReceives, preview
from connectors.cloudevents.mapping import InvalidMapping
from connectors.kit.contract import Delivery, Integration, Unparseable

CONNECTOR = "cloudevents"
INTEGRATION_HEADER = "x-incidents-integration"
_WRITERS = frozenset({"responder", "admin"})
_RECEIVES = CloudEventsReceives()


async def receive(needs: IngestDependencies, request: Request) -> Response:
    """Take one event or a batch; the tenant is the token's.

    The header ``X-Incidents-Integration`` names the integration whose mapping is used; without it, only canonical
    signals are taken.
    """
    principal = await _writer(needs, request)
    body = await read_body(request, needs.max_body_bytes)
    integration = await _integration(needs, principal, request.headers.get(INTEGRATION_HEADER, ""))
    return await take(needs, _RECEIVES, integration, Delivery(body, request.headers, request.query_params))


async def _writer(needs: IngestDependencies, request: Request) -> Principal:
    principal = await needs.authenticate(request)
    if principal.role not in _WRITERS:
        raise Problem(403, "forbidden", detail="this needs the role responder or admin")
    return principal


async def _integration(needs: IngestDependencies, principal: Principal, integration_id: str) -> Integration:
    if not integration_id:
        return Integration("", principal.tenant_id, CONNECTOR)
    found = await known_integration(needs, CONNECTOR, integration_id)
    if found is None or found.tenant_id != principal.tenant_id:
        raise Problem(404, "unknown-integration")
    return found


async def preview_mapping(needs: IngestDependencies, request: Request) -> Response:
    """``POST /api/v1/events/preview`` with ``{"mapping", "event"}``: the signal it would become; nothing is sent."""
    await _writer(needs, request)
    document = strict_json(await read_body(request, needs.max_body_bytes))
    if not isinstance(document, dict) or not {"mapping", "event"} <= document.keys():
        raise Problem(400, "malformed-json", detail='send {"mapping": ..., "event": ...}')
    try:
        shown = preview(document["mapping"], document["event"])
    except InvalidMapping as error:
        raise Problem(422, "invalid-mapping", detail=str(error)) from error
    except Unparseable as error:
        raise Problem(422, "invalid-event", detail=error.detail) from error
    return Response(orjson.dumps(shown), media_type="application/json")
