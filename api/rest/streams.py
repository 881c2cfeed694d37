"""Server-sent events of the tenant, and of one incident."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Api, Parts, allowed
from api.live.follow import Selection
from api.problems import Problem
from api.reads import sequence_of
from api.rest.openapi import STREAM
from api.sse import EventStream
from policy.decision import Action, Principal
from streams.domain.catalogue import CATALOGUE

router = APIRouter(route_class=StrictRoute, tags=["streams"], responses=STREAM)

Subscriber = Annotated[Principal, Depends(allowed(Action.SUBSCRIBE))]
After = Annotated[
    int | None, Query(ge=0, le=2**62, description="resume behind this tenantsequence; 0 begins with the first event")
]
Types = Annotated[list[str], Query(max_length=50, description="only these types, e.g. com.incidents.acknowledged.v1")]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="the last id that was received; wins over `after`")
]
EVENT_TYPES = frozenset(spec.type for spec in CATALOGUE if "incident-events" in spec.topics)


@router.get("/api/v1/events/stream", summary="Follow the tenant")
async def tenant_stream(
    request: Request,
    principal: Subscriber,
    api: Parts,
    after: After = None,
    types: Types = [],  # noqa: B006  FastAPI copies it
    last_event_id: LastEventId = None,
) -> Response:
    """Every event of the tenant, once the read models show it; resumable, with heartbeats."""
    selection = Selection(principal.tenant_id, types=known_types(types))
    return _stream(request, api, selection, cursor(last_event_id, after))


@router.get("/api/v1/incidents/{incident_id}/stream", summary="Follow one incident")
async def incident_stream(
    request: Request,
    principal: Subscriber,
    api: Parts,
    incident_id: str,
    after: After = None,
    types: Types = [],  # noqa: B006  FastAPI copies it
    last_event_id: LastEventId = None,
) -> Response:
    """The events of one incident; the cursor is still the tenant's."""
    incident = await api.reads.incident(principal.tenant_id, incident_id)
    if incident is None:
        raise Problem(404, "unknown-incident", "Not found", f"no incident {incident_id[:60]}")
    selection = Selection(principal.tenant_id, incident.incident_id, known_types(types))
    return _stream(request, api, selection, cursor(last_event_id, after))


def known_types(types: list[str]) -> frozenset[str]:
    """The types of a filter; raises ``Problem`` 400 for one that no event has."""
    unknown = sorted(set(types) - EVENT_TYPES)
    if unknown:
        raise Problem(400, "unknown-type", "No event has this type", ", ".join(unknown)[:200])
    return frozenset(types)


def cursor(last_event_id: str | None, after: int | None) -> int | None:
    """Where to resume; raises ``Problem`` 400 for a ``Last-Event-ID`` that is not one of ours."""
    return sequence_of(last_event_id) if last_event_id else after


def _stream(request: Request, api: Api, selection: Selection, after: int | None) -> Response:
    return EventStream(
        api.follower.follow(selection, after),
        api.authenticator,
        request.headers.get("authorization", ""),
        send_timeout_s=api.settings.send_timeout_s,
    )
