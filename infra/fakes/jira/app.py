"""The fake's HTTP side: issues of REST API v3, search, and the controls.

Answers, headers and errors as in https://developer.atlassian.com/cloud/jira/platform/rest/v3/ and
https://developer.atlassian.com/cloud/jira/platform/rate-limiting/.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.fakes import controls
from infra.fakes.guard import Endpoint, Guard, Refused, json_object
from infra.fakes.jira import fields, page, webhook, workflow
from infra.fakes.jira.access import Access
from infra.fakes.jira.attachments import Attachments, attachments_of
from infra.fakes.jira.issues import Change, Issue, Issues
from infra.fakes.jira.search import Index
from infra.fakes.store import Store
from infra.fakes.webhooks import Webhooks

_MARKER = "incidents-"
_WRITES = frozenset({"create", "edit", "transition", "comment", "link", "delete", "attach", "detach"})
_RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Jira tries a failed webhook five times more, minutes apart; the fake is not as patient."""


class FakeJira:
    """One site with one project. ``lag_s``: how far search lags behind; ``most_bytes`` are taken of a file."""

    def __init__(
        self,
        store: Store,
        access: Access,
        *,
        project: str = "OPS",
        lag_s: float = 1.0,
        most_bytes: int = 2**24,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._access = access
        self.index = Index(store, clock, lag_s)
        self.webhooks = Webhooks(store, lambda body, secret, _: webhook.sign(body, secret), _RETRY_S)
        self.issues = Issues(store, self.index, project, clock, self._changed)
        self.attachments = Attachments(store, self.issues, most_bytes)
        self.guard = Guard(self._count, lambda status: workflow.errors(f"HTTP {status}"))

    def app(self) -> Starlette:
        """The application."""
        api, issue = "/rest/api/3", "/rest/api/3/issue/{key}"
        return Starlette(
            routes=[
                Route(f"{api}/myself", self._guarded("myself", self._myself)),
                Route(f"{api}/user/search", self._guarded("users", self._users)),
                Route(f"{api}/search", self._gone, methods=["GET", "POST"]),
                Route(f"{api}/search/jql", self._guarded("search", self._search), methods=["GET", "POST"]),
                Route(f"{api}/status", self._guarded("statuses", self._statuses)),
                Route(f"{api}/issue/bulkfetch", self._guarded("bulkfetch", self._bulkfetch), methods=["POST"]),
                Route(f"{api}/issue", self._guarded("create", self._create), methods=["POST"]),
                Route(issue, self._guarded("get", self._get)),
                Route(issue, self._guarded("edit", self._edit), methods=["PUT"]),
                Route(issue, self._guarded("delete", self._delete), methods=["DELETE"]),
                Route(f"{issue}/transitions", self._guarded("transitions", self._transitions)),
                Route(f"{issue}/transitions", self._guarded("transition", self._transition), methods=["POST"]),
                Route(f"{issue}/comment", self._guarded("comments", self._comments)),
                Route(f"{issue}/comment", self._guarded("comment", self._comment), methods=["POST"]),
                Route(f"{issue}/changelog", self._guarded("changelog", self._changelog)),
                Route(f"{issue}/remotelink", self._guarded("link", self._link), methods=["POST"]),
                Route(f"{issue}/attachments", self._guarded("attach", self.attachments.upload), methods=["POST"]),
                Route(f"{api}/attachment/content/{{id}}", self._guarded("content", self.attachments.content)),
                Route(f"{api}/attachment/{{id}}", self._guarded("detach", self.attachments.remove), methods=["DELETE"]),
                *controls.routes(self.guard, self.webhooks, self.effects),
                Route("/", self._page),
                Route("/_page/{key}", self._submit, methods=["POST"]),
            ]
        )

    def effects(self) -> dict[str, Any]:
        """What ``GET /_effects`` answers: effects, calls and writes counted, and every issue as it is now."""
        issues = self._store.all("issue")
        marked = Counter(label for one in issues for label in one["fields"]["labels"] if label.startswith(_MARKER))
        return {
            "effects": self._store.counts("effect:"),
            "calls": self._store.counts("call:"),
            "writes": sum(self._store.counts("write:").values()),
            "webhooks": self._store.counts("webhook:"),
            "tickets_by_marker": dict(marked),
            "tickets": {one["key"]: one for one in issues},
            "files": [file for one in issues for file in attachments_of(one)],
        }

    def _guarded(self, call: str, endpoint: Endpoint) -> Endpoint:
        def check(request: Request) -> None:
            self._access.check(request, is_write=call in _WRITES)

        return self.guard.guarded(call, check, endpoint)

    def _count(self, call: str) -> None:
        self._store.count(f"call:{call}")
        if call in _WRITES:
            self._store.count(f"write:{call}")

    def _changed(self, change: Change) -> None:
        for identifier, body in webhook.bodies(change, self._store.count("sequence:webhook")):
            self.webhooks.emit(body, webhook.headers(identifier))

    async def _myself(self, request: Request) -> Response:
        del request
        return JSONResponse(fields.person(fields.SELF))

    async def _users(self, request: Request) -> Response:
        query = request.query_params.get("query", "").lower().partition("@")[0].replace(".", " ")
        found = [fields.person(id_) for id_, name in fields.PEOPLE.items() if name.lower().startswith(query)]
        return JSONResponse(found if query else [])

    async def _gone(self, request: Request) -> Response:
        del request
        return JSONResponse(
            workflow.errors("The requested API has been removed. Please migrate to /rest/api/3/search/jql."), 410
        )

    async def _search(self, request: Request) -> Response:
        given = await json_object(request) if request.method == "POST" else dict(request.query_params)
        keys = self.index.find(str(given.get("jql", "")))
        offset, limit = _offset(str(given.get("nextPageToken", ""))), int(given.get("maxResults", 50))
        wanted: Any = given.get("fields", [])
        names = wanted.split(",") if isinstance(wanted, str) else wanted
        page_keys, is_last = keys[offset : offset + limit], offset + limit >= len(keys)
        shown = [_shown(self.issues.get(key), names) for key in page_keys]
        more = {} if is_last else {"nextPageToken": base64.urlsafe_b64encode(str(offset + limit).encode()).decode()}
        return JSONResponse({"issues": shown, "isLast": is_last, **more})

    async def _statuses(self, request: Request) -> Response:
        del request
        return JSONResponse([one.shown() for one in workflow.STATUSES])

    async def _bulkfetch(self, request: Request) -> Response:
        given = await json_object(request)
        found = [one for key in given["issueIdsOrKeys"][:100] if (one := self._store.get("issue", key))]
        shown = [_shown(one, given.get("fields", ["*navigable"])) for one in found]
        return JSONResponse({"issues": shown, "issueErrors": []})

    async def _create(self, request: Request) -> Response:
        issue = self.issues.create(await json_object(request), fields.SELF)
        return JSONResponse({"id": issue["id"], "key": issue["key"], "self": f"{request.url}/{issue['id']}"}, 201)

    async def _get(self, request: Request) -> Response:
        names = request.query_params.get("fields", "*all").split(",")
        return JSONResponse(_shown(self.issues.get(request.path_params["key"]), names))

    async def _edit(self, request: Request) -> Response:
        self.issues.edit(request.path_params["key"], await json_object(request), fields.SELF)
        return Response(status_code=204)

    async def _delete(self, request: Request) -> Response:
        self.issues.delete(request.path_params["key"], fields.SELF)
        return Response(status_code=204)

    async def _transitions(self, request: Request) -> Response:
        issue = self.issues.get(request.path_params["key"])
        offered = workflow.available(issue["fields"]["status"]["id"])
        return JSONResponse({"transitions": [one.shown() for one in offered]})

    async def _transition(self, request: Request) -> Response:
        self.issues.transition(request.path_params["key"], await json_object(request), fields.SELF)
        return Response(status_code=204)

    async def _comments(self, request: Request) -> Response:
        return _paged(request, "comments", self.issues.get(request.path_params["key"])["comments"])

    async def _comment(self, request: Request) -> Response:
        body = (await json_object(request)).get("body")
        return JSONResponse(self.issues.comment(request.path_params["key"], body, fields.SELF), 201)

    async def _changelog(self, request: Request) -> Response:
        return _paged(request, "values", self.issues.get(request.path_params["key"])["changelog"])

    async def _link(self, request: Request) -> Response:
        return JSONResponse(self.issues.link(request.path_params["key"], await json_object(request)), 201)

    async def _page(self, request: Request) -> Response:
        del request
        return page.answer(self._store)

    async def _submit(self, request: Request) -> Response:
        return await page.submit(request, self.issues, self._store, self.attachments)


def _shown(issue: Issue, names: list[str]) -> dict[str, Any]:
    """An issue with the fields that were asked for."""
    everything = bool({"*all", "*navigable"} & set(names))
    comments = {"comments": issue["comments"], "total": len(issue["comments"])}
    known = {**issue["fields"], "comment": comments, "attachment": attachments_of(issue)}
    found = {name: value for name, value in known.items() if everything or name in names}
    return {"id": issue["id"], "key": issue["key"], **({"fields": found} if names else {})}


def _paged(request: Request, name: str, entries: list[dict[str, Any]]) -> Response:
    start, limit = int(request.query_params.get("startAt", 0)), int(request.query_params.get("maxResults", 100))
    ordered = list(reversed(entries)) if request.query_params.get("orderBy") == "-created" else entries
    part = ordered[start : start + limit]
    last = start + limit >= len(entries)
    return JSONResponse({"startAt": start, "maxResults": limit, "total": len(entries), "isLast": last, name: part})


def _offset(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token)) if token else 0
    except ValueError:
        raise Refused(400, workflow.errors("The nextPageToken is invalid.")) from None
