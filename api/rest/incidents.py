"""Reads of incidents, their timeline and their alerts, and the board (viewer)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Api, Parts, allowed
from api.problems import Problem
from api.rest.openapi import ERRORS, INCIDENT
from api.rest.outcome import etag
from api.rest.responses import json_response
from api.rest.streams import known_types
from api.views import alert_state_view, board_view, incident_view
from policy.decision import Action, Principal
from projections.incident_rows import IncidentRow
from projections.queries.incidents import IncidentFilter, Sort

router = APIRouter(route_class=StrictRoute, prefix="/api/v1", tags=["incidents"], responses=ERRORS)

Reader = Annotated[Principal, Depends(allowed(Action.READ_INCIDENTS))]
TimelineReader = Annotated[Principal, Depends(allowed(Action.READ_TIMELINE))]
AlertReader = Annotated[Principal, Depends(allowed(Action.READ_ALERTS))]
BoardReader = Annotated[Principal, Depends(allowed(Action.READ_BOARD))]
Limit = Annotated[int, Query(ge=1, le=500, description="how many at most")]
After = Annotated[str | None, Query(max_length=1000, description="`next` of the page before")]
AsOf = Annotated[
    AwareDatetime | None,
    Query(description="as it was at this instant (RFC 3339): what was recorded later is left out"),
]
Any_ = Annotated[list[str], Query(max_length=20, description="any of these; repeat the parameter")]


def page(request: Request, items: list[object], cursor: str | None) -> Response:
    """A page: its items, the cursor of the next one, and the ``Link`` to it (RFC 8288)."""
    headers = {}
    if cursor is not None:
        kept = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*kept, ("after", cursor)])}>; rel="next"'
    return json_response({"items": items, "next": cursor}, headers=headers)


async def found(api: Api, principal: Principal, reference: str, as_of: datetime | None = None) -> IncidentRow:
    """The incident of an id or number, now or as it was; raises ``Problem`` 404."""
    row = await api.reads.incident(principal.tenant_id, reference, as_of)
    if row is not None:
        return row
    now = await api.reads.incident(principal.tenant_id, reference) if as_of else None
    if now is not None:
        raise Problem(404, "not-yet", "Not there yet", f"INC-{now.number} was declared at {now.created_at.isoformat()}")
    raise Problem(404, "unknown-incident", "Not found", f"no incident {reference[:60]}")


class Filter(BaseModel):
    """The query parameters of the list."""

    model_config = ConfigDict(extra="forbid")

    status: list[str] = Field([], max_length=20, description="any of these; repeat the parameter")
    severity: list[str] = Field([], max_length=20, description="any of these; repeat the parameter")
    service: str = Field("", max_length=500)
    assignee: str = Field("", max_length=500)
    text: str = Field("", max_length=200, description="searched in title and description")
    created_since: AwareDatetime | None = None
    created_until: AwareDatetime | None = None
    updated_since: AwareDatetime | None = None
    firing: bool | None = None
    include_merged: bool = False
    sort: Sort = "newest"
    limit: int = Field(50, ge=1, le=500, description="how many at most")
    after: str | None = Field(None, max_length=4096, description="`next` of the page before")
    as_of: AwareDatetime | None = Field(
        None, description="as they were at this instant; filters apply to that state, a page may be short"
    )

    def wanted(self) -> IncidentFilter:
        """The filter as the queries take it."""
        values = self.model_dump(exclude={"sort", "limit", "after", "as_of", "status", "severity"})
        return IncidentFilter(status=tuple(self.status), severity=tuple(self.severity), **values)


@router.get("/incidents", summary="List incidents, newest first")
async def list_incidents(
    request: Request, principal: Reader, api: Parts, chosen: Annotated[Filter, Query()]
) -> Response:
    """Keyset paging: a page stays right while incidents are added. Merged ones are left out unless asked for."""
    paging: Any = {"sort": chosen.sort, "after": chosen.after, "limit": chosen.limit}
    if chosen.as_of is not None:
        rows, cursor = await api.reads.incidents_as_of(principal.tenant_id, chosen.wanted(), chosen.as_of, **paging)
    else:
        rows, cursor = await api.reads.incidents(principal.tenant_id, chosen.wanted(), **paging)
    return page(request, [incident_view(row) for row in rows], cursor)


@router.get("/incidents/{incident_id}", summary="Get an incident", responses={200: INCIDENT})
async def get_incident(principal: Reader, api: Parts, incident_id: str, as_of: AsOf = None) -> Response:
    """By id or number; one that was merged answers 308 to the incident that it became part of, with itself as body.

    As it was at an instant, it has no ETag: what was cannot be edited.
    """
    row = await found(api, principal, incident_id, as_of)
    headers = {"Cache-Control": "private, no-cache"} | ({} if as_of else {"ETag": etag(row.revision)})
    if row.merged_into:
        asked = f"?{urlencode({'as_of': as_of.isoformat()})}" if as_of else ""
        headers["Location"] = f"/api/v1/incidents/{row.merged_into}{asked}"
        return json_response(incident_view(row), 308, headers)
    return json_response(incident_view(row), headers=headers)


@router.get("/incidents/{incident_id}/timeline", summary="The events of an incident, oldest first")
async def timeline(
    request: Request,
    principal: TimelineReader,
    api: Parts,
    incident_id: str,
    types: Any_ = [],  # noqa: B006
    limit: Limit = 100,
    after: After = None,
    as_of: AsOf = None,
) -> Response:
    """Its events as CloudEvents."""
    row = await found(api, principal, incident_id, as_of)
    events, cursor = await api.reads.timeline(
        principal.tenant_id, row.incident_id, types=sorted(known_types(types)), after=after, limit=limit, as_of=as_of
    )
    return page(request, [event.document for event in events], cursor)


@router.get("/incidents/{incident_id}/alerts", summary="The alerts of an incident, with their present state")
async def incident_alerts(
    request: Request,
    principal: AlertReader,
    api: Parts,
    incident_id: str,
    limit: Limit = 100,
    after: After = None,
) -> Response:
    """Each alert over its whole life; the signals behind them are at `/api/v1/alerts?incident_id=`."""
    row = await found(api, principal, incident_id)
    rows, cursor = await api.reads.alert_states(principal.tenant_id, row.incident_id, after=after, limit=limit)
    return page(request, [alert_state_view(state) for state in rows], cursor)


@router.get("/board", summary="The incidents by status, the worst first")
async def board(principal: BoardReader, api: Parts) -> Response:
    """For each status how many there are, and the newest of them; and how their tickets in other systems stand."""
    return json_response(board_view(await api.reads.board(principal.tenant_id)))
