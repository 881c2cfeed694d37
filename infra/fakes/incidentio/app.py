"""The fake's HTTP side: incidents, their updates, severities and statuses, the controls, and a page to edit by hand.

Paths, filters and errors as in https://api-docs.incident.io.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from infra.fakes import controls
from infra.fakes.guard import Endpoint, Guard, Refused, json_object
from infra.fakes.incidentio import webhook
from infra.fakes.incidentio.incidents import API_KEY, SEVERITIES, STATUSES, Incidents, error, user
from infra.fakes.limits import Window
from infra.fakes.page import Input, Ticket, render, submitted
from infra.fakes.store import Store
from infra.fakes.webhooks import Webhooks

_MINUTE_S = 60.0
_MOST = 250
_SVIX_RETRY_S = (5.0, 300.0)


class FakeIncidentIo:
    """One account. ``limit_per_minute`` (0: none) is the limit of its one API key."""

    def __init__(
        self,
        store: Store,
        token: str = "incidentio-token",  # noqa: S107  of a fake
        *,
        limit_per_minute: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._token = token
        self._clock = clock
        self._window = Window(limit_per_minute, _MINUTE_S, clock)
        self.webhooks = Webhooks(store, webhook.sign, _SVIX_RETRY_S)
        self.incidents = Incidents(store, clock, self._told)
        self.guard = Guard(lambda call: _count(store, call), lambda status: error(status, f"HTTP {status}"))

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/v2/incidents", self._guarded("list", self._list)),
                Route("/v2/incidents", self._guarded("create", self._create), methods=["POST"]),
                Route("/v2/incidents/{id}", self._guarded("get", self._get)),
                Route("/v2/incidents/{id}/actions/edit", self._guarded("update", self._edit), methods=["POST"]),
                Route("/v2/incident_updates", self._guarded("updates", self._updates)),
                Route("/v1/severities", self._guarded("severities", self._severities)),
                Route("/v1/incident_statuses", self._guarded("statuses", self._statuses)),
                *controls.routes(self.guard, self.webhooks, self.effects),
                Route("/", self._page),
                Route("/_page/{id}", self._by_hand, methods=["POST"]),
            ]
        )

    def effects(self) -> dict[str, Any]:
        """What ``GET /_effects`` answers: calls and writes counted, and every incident as it is now."""
        incidents = self.incidents.all()
        texts = [one["values"] for incident in incidents for one in incident["custom_field_entries"]]
        return {
            "calls": self._store.counts("call:"),
            "writes": sum(self._store.counts("write:").values()),
            "webhooks": self._store.counts("webhook:"),
            "tickets_by_marker": dict(Counter(values[0]["value_text"] for values in texts if values)),
            "tickets": {one["id"]: one for one in incidents},
        }

    def _guarded(self, call: str, endpoint: Endpoint) -> Endpoint:
        return self.guard.guarded(call, self._check, endpoint)

    def _check(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            raise Refused(401, error(401, "Unauthorized"))
        wait_s = self._window.take()
        if wait_s:
            limit = {"name": "api", "retry_after": formatdate(self._clock() + wait_s + 1, usegmt=True)}
            raise Refused(429, {**error(429, "Too many requests"), "rate_limit": limit})

    def _told(self, event: str, incident: dict[str, Any], previous: Mapping[str, Any] | None) -> None:
        id_ = f"msg_{self._store.count('message'):06}"
        private = incident["visibility"] == "private"
        kind = f"{'private' if private else 'public'}_incident.incident_{event}_v2"
        payload: dict[str, Any] = incident
        if private:
            payload = {"id": incident["id"]}
        elif event == "status_updated":
            shown = {name: value for name, value in incident.items() if name != "message"}
            payload = {
                "incident": shown,
                "new_status": incident["incident_status"],
                "previous_status": previous,
                "message": incident["message"],
            }
        self.webhooks.emit(webhook.body(kind, payload), {"webhook-id": id_})

    async def _list(self, request: Request) -> Response:
        since = request.query_params.get("updated_at[gte]", "")
        modes = request.query_params.getlist("mode[one_of]") or ["standard", "retrospective"]
        found = [one for one in self.incidents.all() if one["updated_at"] >= since and one["mode"] in modes]
        return JSONResponse(_paged(request, found, "incidents"))

    async def _create(self, request: Request) -> Response:
        return JSONResponse({"incident": self.incidents.create(await json_object(request), API_KEY)})

    async def _get(self, request: Request) -> Response:
        return JSONResponse({"incident": self.incidents.get(request.path_params["id"])})

    async def _edit(self, request: Request) -> Response:
        given = await json_object(request)
        if not isinstance(given.get("incident"), dict) or "notify_incident_channel" not in given:
            raise Refused(422, error(422, "is required", "incident"))
        return JSONResponse({"incident": self.incidents.edit(request.path_params["id"], given["incident"], API_KEY)})

    async def _updates(self, request: Request) -> Response:
        incident = self.incidents.get(request.query_params.get("incident_id", ""))
        return JSONResponse(_paged(request, self.incidents.updates(incident["id"]), "incident_updates"))

    async def _severities(self, request: Request) -> Response:
        del request
        return JSONResponse({"severities": SEVERITIES})

    async def _statuses(self, request: Request) -> Response:
        del request
        return JSONResponse({"incident_statuses": STATUSES})

    async def _page(self, request: Request) -> Response:
        del request
        return HTMLResponse(render("incident.io (fake)", [_form(one) for one in reversed(self.incidents.all())]))

    async def _by_hand(self, request: Request) -> Response:
        form = await submitted(request)
        given = {name: value for name, value in form.items() if name != "message" and value}
        try:
            self.incidents.edit(request.path_params["id"], given, user("eve"), form.get("message", ""))
        except Refused as refused:
            return JSONResponse(refused.document, refused.status)
        return Response(status_code=303, headers={"Location": "/"})


def _form(incident: Mapping[str, Any]) -> Ticket:
    statuses = {str(one["id"]): str(one["name"]) for one in STATUSES}
    severities = {str(one["id"]): str(one["name"]) for one in SEVERITIES}
    severity = str((incident["severity"] or {}).get("id", ""))
    inputs = (
        Input("name", "Name", incident["name"]),
        Input("summary", "Summary", incident["summary"]),
        Input("severity_id", "Severity", severity, severities if severity else {"": "none", **severities}),
        Input("incident_status_id", "Status", incident["incident_status"]["id"], statuses),
        Input("message", "Update"),
    )
    return Ticket(incident["id"], f"{incident['reference']} {incident['name']}", inputs)


def _paged(request: Request, found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A page behind ``after``; at the last one ``pagination_meta`` has no ``after``."""
    size = int(request.query_params.get("page_size", 25))
    if not 1 <= size <= _MOST:
        raise Refused(422, error(422, f"from 1 to {_MOST}", "page_size"))
    behind = request.query_params.get("after", "")
    ids = [one["id"] for one in found]
    start = ids.index(behind) + 1 if behind in ids else 0
    shown = found[start : start + size]
    more = {"after": shown[-1]["id"]} if start + size < len(found) else {}
    return {name: shown, "pagination_meta": {**more, "page_size": size, "total_record_count": len(found)}}


def _count(store: Store, call: str) -> None:
    store.count(f"call:{call}")
    if call in {"create", "update"}:
        store.count(f"write:{call}")
