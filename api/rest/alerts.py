"""What became of signals: each has exactly one disposition (viewer)."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Parts, allowed
from api.rest.incidents import After, Limit, page
from api.rest.models import LookupInput
from api.rest.openapi import ERRORS
from api.rest.responses import json_response
from api.views import alert_view
from policy.decision import Action, Principal
from projections.queries.alerts import AlertFilter

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/alerts", tags=["alerts"], responses=ERRORS)

Reader = Annotated[Principal, Depends(allowed(Action.READ_ALERTS))]
Disposition = Literal["attached", "repeated", "kept_raw", "refused", "dead_lettered"]


@router.get("", summary="List signals, newest first")
async def list_alerts(
    request: Request,
    principal: Reader,
    api: Parts,
    disposition: Annotated[list[Disposition], Query(max_length=5)] = [],  # noqa: B006  FastAPI copies it
    source: Annotated[str, Query(max_length=1000)] = "",
    ids: Annotated[list[str], Query(max_length=200, description="signal ids; repeat the parameter")] = [],  # noqa: B006
    fingerprint: Annotated[str, Query(max_length=1000)] = "",
    incident_id: Annotated[str, Query(max_length=100)] = "",
    status: Literal["firing", "resolved"] | None = None,
    service: Annotated[str, Query(max_length=500)] = "",
    connector: Annotated[str, Query(max_length=100)] = "",
    since: AwareDatetime | None = None,
    limit: Limit = 100,
    after: After = None,
) -> Response:
    """Whatever was accepted is found here, also what was refused or dead-lettered."""
    wanted = AlertFilter(
        incident_id=incident_id,
        disposition=tuple(disposition),
        status=status or "",
        service=service,
        fingerprint=fingerprint,
        source=source,
        ids=tuple(ids),
        connector=connector,
        since=since,
    )
    rows, cursor = await api.reads.alerts(principal.tenant_id, wanted, after=after, limit=limit)
    return page(request, [alert_view(row) for row in rows], cursor)


@router.post("/lookup", summary="Look many signals up")
async def lookup(principal: Reader, api: Parts, body: LookupInput) -> Response:
    """The dispositions of up to 1,000 signals by source and id; those that are not there (yet) are named."""
    wanted = [(item.source, item.id) for item in body.items]
    found = await api.reads.alerts_by_id(principal.tenant_id, wanted)
    missing = [{"source": source, "id": id_} for source, id_ in dict.fromkeys(wanted) if (source, id_) not in found]
    return json_response({"items": [alert_view(row) for row in found.values()], "missing": missing})
