"""The fake's HTTP side: the Table API, OAuth, and the controls ``/_effects``, ``/_faults``, ``/_webhook``, ``/_rules``.

Answers, headers and errors as in the Table API's documentation and "Inbound REST API rate limiting"
(https://www.servicenow.com/docs).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.fakes import controls
from infra.fakes.guard import Endpoint, Guard, Refused, json_object
from infra.fakes.limits import Window
from infra.fakes.page import submitted
from infra.fakes.servicenow import fields, page, webhook
from infra.fakes.servicenow.accounts import Accounts
from infra.fakes.servicenow.attachments import COLUMNS, Attachments
from infra.fakes.servicenow.query import select
from infra.fakes.servicenow.rendering import shown
from infra.fakes.servicenow.table import ADMIN, Change, IncidentTable, error
from infra.fakes.store import Store
from infra.fakes.webhooks import Webhooks

_HOUR_S = 3_600.0
_DEFAULT_LIMIT = 10_000
_SYSTEM_TABLES = ("sys_journal_field", "sys_audit_delete")


class FakeServiceNow:
    """One instance. ``limit_per_hour`` (0: none) is its rate limit; ``strict_queries``: mistyped ones find nothing.

    ``most_bytes`` are taken of a file.
    """

    def __init__(
        self,
        store: Store,
        user: str = "incidents",
        credential: str = "servicenow-secret",
        *,
        limit_per_hour: int = 0,
        strict_queries: bool = False,
        most_bytes: int = 2**24,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._clock = clock
        self._strict = strict_queries
        self._window = Window(limit_per_hour, _HOUR_S, clock)
        self.accounts = Accounts(user, credential, clock)
        self.webhooks = Webhooks(store, lambda body, secret, _: webhook.sign(body, secret))
        self.table = IncidentTable(store, clock, self._changed)
        self.attachments = Attachments(store, clock, self._files_changed, most_bytes)
        self.guard = Guard(lambda call: _count(store, call), lambda status: error(f"HTTP {status}"))

    def app(self) -> Starlette:
        """The application."""
        table, record = "/api/now/table/{table}", "/api/now/table/{table}/{sys_id}"
        return Starlette(
            routes=[
                Route(table, self._guarded("query", self._query)),
                Route(table, self._guarded("create", self._create), methods=["POST"]),
                Route(record, self._guarded("get", self._get)),
                Route(record, self._guarded("update", self._update), methods=["PATCH", "PUT"]),
                Route(record, self._guarded("delete", self._delete), methods=["DELETE"]),
                Route("/api/now/attachment/file", self._guarded("attach", self._attach), methods=["POST"]),
                Route("/api/now/attachment", self._guarded("files", self._files)),
                Route("/api/now/attachment/{id}", self._guarded("detach", self._detach), methods=["DELETE"]),
                Route("/api/now/attachment/{id}/file", self._guarded("file", self._file)),
                Route("/oauth_token.do", self._token, methods=["POST"]),
                *controls.routes(self.guard, self.webhooks, self.effects),
                Route("/_rules", self._rules, methods=["POST"]),
                Route("/", self._page),
                Route("/_page/{sys_id}", self._edit, methods=["POST"]),
            ]
        )

    def effects(self) -> dict[str, Any]:
        """What ``GET /_effects`` answers: effects, calls and writes counted, and every record as it is now."""
        records = self._store.all("incident")
        marked = Counter(one["correlation_id"] for one in records if one["correlation_id"])
        return {
            "effects": self._store.counts("effect:"),
            "calls": self._store.counts("call:"),
            "writes": sum(self._store.counts("write:").values()),
            "webhooks": self._store.counts("webhook:"),
            "tickets_by_marker": dict(marked),
            "tickets": {one["sys_id"]: one for one in records},
            "files": self.attachments.all(),
        }

    def _guarded(self, call: str, endpoint: Endpoint) -> Endpoint:
        return self.guard.guarded(call, self._check, endpoint)

    def _check(self, request: Request) -> None:
        request.state.user = self.accounts.user(request)
        wait_s = self._window.take(request.state.user)
        if wait_s:
            headers = {"X-RateLimit-Limit": str(self._window.limit or _DEFAULT_LIMIT)}
            headers |= {"X-RateLimit-Reset": str(int(self._clock() + wait_s) + 1), "Retry-After": str(int(wait_s) + 1)}
            headers["X-RateLimit-Rule"] = "Incident Table API"
            raise Refused(429, error("Rate limit exceeded"), headers)

    def _changed(self, change: Change) -> None:
        self.webhooks.emit(webhook.body(change))

    async def _query(self, request: Request) -> Response:
        name, parameters = request.path_params["table"], request.query_params
        records = self._records(name)
        columns = frozenset(records[0]) if records else frozenset(fields.COLUMNS)
        found = select(records, parameters.get("sysparm_query", ""), columns, strict=self._strict)
        offset, limit = int(parameters.get("sysparm_offset", 0)), int(parameters.get("sysparm_limit", 10_000))
        result = [self._shown(name, one, request) for one in found[offset : offset + limit]]
        return JSONResponse({"result": result}, headers={"X-Total-Count": str(len(found))})

    def _records(self, name: str) -> list[dict[str, str]]:
        if name == "incident" or name in _SYSTEM_TABLES:
            return self._store.all(name)
        if name in fields.PEOPLE:
            return [
                {
                    "sys_id": fields.sys_id(name, one),
                    "name": one,
                    "email": f"{one.lower().replace(' ', '.')}@example.com",
                }
                for one in fields.PEOPLE[name]
            ]
        raise Refused(400, error(f"Invalid table {name}"))

    def _shown(self, name: str, record: Mapping[str, str], request: Request) -> dict[str, Any]:
        if name != "incident":
            return dict(record)
        journal = self.table.journal(record["sys_id"])
        return shown(record, journal, request.query_params, str(request.base_url).rstrip("/"))

    async def _get(self, request: Request) -> Response:
        _incidents_only(request)
        record = self.table.get(request.path_params["sys_id"])
        return JSONResponse({"result": self._shown("incident", record, request)})

    async def _create(self, request: Request) -> Response:
        _incidents_only(request)
        record = self.table.create(await self._values(request), request.state.user)
        headers = {"Location": f"{str(request.base_url).rstrip('/')}/api/now/table/incident/{record['sys_id']}"}
        return JSONResponse({"result": self._shown("incident", record, request)}, 201, headers)

    async def _update(self, request: Request) -> Response:
        _incidents_only(request)
        record = self.table.update(request.path_params["sys_id"], await self._values(request), request.state.user)
        return JSONResponse({"result": self._shown("incident", record, request)})

    async def _values(self, request: Request) -> dict[str, Any]:
        values = await json_object(request)
        if request.query_params.get("sysparm_input_display_value") != "true":
            return values
        raw = {label: value for labels in fields.CHOICES.values() for value, label in labels.items()}
        ids = {name: id_ for id_, name in fields.NAMES.items()}
        return {name: raw.get(str(value), ids.get(str(value), value)) for name, value in values.items()}

    async def _delete(self, request: Request) -> Response:
        _incidents_only(request)
        self.table.delete(request.path_params["sys_id"], request.state.user)
        return Response(status_code=204)

    def _files_changed(self, sys_id: str, ids: list[str]) -> None:
        self.webhooks.emit(
            {"event": "incident.attachment", "sys_id": sys_id, "attachments": ids, "at": str(int(self._clock() * 1000))}
        )

    async def _attach(self, request: Request) -> Response:
        self.table.get(request.query_params.get("table_sys_id", ""))
        content_type, content = request.headers.get("content-type", ""), await request.body()
        made = self.attachments.add(request.query_params, content_type, content, request.state.user)
        return JSONResponse({"result": made}, 201)

    async def _files(self, request: Request) -> Response:
        query, limit = request.query_params.get("sysparm_query", ""), request.query_params.get("sysparm_limit", "1000")
        found = select(self.attachments.all(), query, COLUMNS, strict=self._strict)
        return JSONResponse({"result": list(found[: int(limit)])})

    async def _file(self, request: Request) -> Response:
        file, content = self.attachments.get(request.path_params["id"])
        return Response(content, media_type=file["content_type"])

    async def _detach(self, request: Request) -> Response:
        self.attachments.delete(request.path_params["id"])
        return Response(status_code=204)

    async def _token(self, request: Request) -> Response:
        form = await submitted(request)
        try:
            return JSONResponse(self.accounts.issue(form.get("grant_type", ""), form.get("client_secret", "")))
        except Refused as refused:
            return JSONResponse(refused.document, refused.status)

    async def _rules(self, request: Request) -> Response:
        self.table.set_rules((await json_object(request)).get("rules", []))
        return Response(status_code=204)

    async def _page(self, request: Request) -> Response:
        del request
        return page.answer(self.table, self._store, self.attachments)

    async def _edit(self, request: Request) -> Response:
        form, sys_id = await submitted(request), request.path_params["sys_id"]
        file_name, file_text = form.pop("file_name", ""), form.pop("file_text", "")
        values = {name: value for name, value in form.items() if value or name != "work_notes"}
        try:
            if values:
                self.table.update(sys_id, values, ADMIN)
            if file_name:
                about = {"table_name": "incident", "table_sys_id": sys_id, "file_name": file_name}
                self.attachments.add(about, "text/plain", file_text.encode(), ADMIN)
        except Refused as refused:
            return page.answer(self.table, self._store, self.attachments, str(refused.document["error"]["detail"]))
        return Response(status_code=303, headers={"Location": "/"})


def _count(store: Store, call: str) -> None:
    store.count(f"call:{call}")
    if call in {"create", "update", "delete", "attach", "detach"}:
        store.count(f"write:{call}")


def _incidents_only(request: Request) -> None:
    if request.path_params["table"] != "incident":
        raise Refused(403, error("Operation Failed", "ACL Exception Insert Failed due to security constraints"))
