"""Files and links of an incident: attaching, listing, downloading and taking away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from api.attachments import attached_as_of, download, file_row_view, file_view, link_row_view, link_view, stored
from api.auth import Unavailable
from api.body import StrictRoute
from api.commands import Submitted
from api.dependencies import Parts, allowed
from api.problems import Problem
from api.rest.actions import Writing
from api.rest.incidents import After, AsOf, Limit, found, page
from api.rest.models import LinkInput
from api.rest.openapi import ERRORS, FILE, UPLOAD, WRITE_ANSWERS
from api.rest.outcome import accepted
from api.rest.responses import json_response
from policy.decision import Action, Principal
from streams.domain import attachment_commands as commands
from streams.domain.attachments import attachment_id, refused_link

T = TypeVar("T")
router = APIRouter(route_class=StrictRoute, prefix="/api/v1/incidents/{incident_id}", tags=["attachments"])

Reader = Annotated[Principal, Depends(allowed(Action.READ_ATTACHMENTS))]
Id = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,100}$")]
FileName = Annotated[str, Query(min_length=1, max_length=1_000, description="what the file is called")]


@router.post("/attachments", status_code=201, summary="Attach a file", responses=WRITE_ANSWERS, openapi_extra=UPLOAD)
async def attach(request: Request, writing: Writing, incident_id: str, file_name: FileName) -> Response:
    """The body is the file, the content type its media type. Its bytes are stored before anything is accepted."""
    id_ = await writing.incident_id(incident_id)
    content_type = request.headers.get("content-type", "")
    command = await stored(writing.api, writing.principal, id_, file_name, content_type, await request.body())
    submitted = await writing.submit(command)
    made = attachment_id(id_, submitted.command_id)
    return await _as_read(submitted, partial(writing.api.reads.file, writing.principal.tenant_id, made), file_row_view)


async def _as_read(
    submitted: Submitted, read: Callable[[], Awaitable[T | None]], view: Callable[[T], dict[str, Any]]
) -> Response:
    """201 with what was made, as read; 202 while that has to wait."""
    try:
        found = await read() if submitted.outcome is not None and submitted.visible else None
    except Unavailable:
        found = None
    if found is None:
        return accepted(submitted)
    shown = view(found)
    location = {"Location": shown["content"]} if shown.get("content") else {}
    return json_response({**shown, "command_id": submitted.command_id}, 201, location)


@router.get("/attachments", summary="Files of an incident, the newest first", responses=ERRORS)
async def list_attachments(
    request: Request,
    principal: Reader,
    api: Parts,
    incident_id: str,
    limit: Limit = 100,
    after: After = None,
    as_of: AsOf = None,
) -> Response:
    """Also those of its tickets and of what was merged into it. As of an instant, all of them are one page."""
    incident = await found(api, principal, incident_id, as_of)
    if as_of is not None:
        files, _ = await attached_as_of(api.reads, principal.tenant_id, incident.incident_id, as_of)
        return page(request, [file_view(one) for one in files], None)
    rows, cursor = await api.reads.files(principal.tenant_id, incident.incident_id, after=after, limit=limit)
    return page(request, [file_row_view(row) for row in rows], cursor)


@router.get("/attachments/{attachment_id}", summary="Download a file", responses={**ERRORS, **FILE})
async def get_attachment(principal: Reader, api: Parts, incident_id: str, attachment_id: Id) -> Response:
    """Always as a download, its digest checked; the ETag is its SHA-256."""
    return await download(api, principal, await found(api, principal, incident_id), attachment_id)


@router.delete("/attachments/{attachment_id}", summary="Take a file away", responses=WRITE_ANSWERS)
async def remove_attachment(writing: Writing, incident_id: str, attachment_id: Id) -> Response:
    """It stays on the timeline, and at the tickets that it was sent to."""
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.RemoveAttachment(id_, attachment_id, writing.principal.actor))


@router.post("/links", status_code=201, summary="Add a link", responses=WRITE_ANSWERS)
async def add_link(writing: Writing, incident_id: str, body: LinkInput) -> Response:
    """Only http and https; an address that is there gets the new title."""
    if why := refused_link(body.url):
        raise Problem(422, "invalid-input", "The input is not valid", f"url: {why}")
    id_ = await writing.incident_id(incident_id)
    command = commands.AddLink(id_, body.url, writing.principal.actor, body.title)
    submitted = await writing.submit(command)
    read = partial(writing.api.reads.link, writing.principal.tenant_id, id_, body.url)
    return await _as_read(submitted, read, link_row_view)


@router.get("/links", summary="Links of an incident, the newest first", responses=ERRORS)
async def list_links(
    request: Request,
    principal: Reader,
    api: Parts,
    incident_id: str,
    limit: Limit = 100,
    after: After = None,
    as_of: AsOf = None,
) -> Response:
    """Also those of what was merged into it. As of an instant, all of them are one page."""
    incident = await found(api, principal, incident_id, as_of)
    if as_of is not None:
        _, links = await attached_as_of(api.reads, principal.tenant_id, incident.incident_id, as_of)
        return page(request, [link_view(one) for one in links], None)
    rows, cursor = await api.reads.links(principal.tenant_id, incident.incident_id, after=after, limit=limit)
    return page(request, [link_row_view(row) for row in rows], cursor)


@router.delete("/links/{link_id}", summary="Take a link away", responses=WRITE_ANSWERS)
async def remove_link(writing: Writing, incident_id: str, link_id: Id) -> Response:
    """It stays on the timeline, and at the tickets that it was sent to."""
    id_ = await writing.incident_id(incident_id)
    return await writing.carry_out(commands.RemoveLink(id_, link_id, writing.principal.actor))
