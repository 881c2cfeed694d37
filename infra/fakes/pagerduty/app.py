"""The fake's HTTP side: the parts of PagerDuty's REST API v2 that the connector calls, and ``/_effects``, ``/_faults``.

Codes and headers as in https://developer.pagerduty.com/docs/errors and /docs/rest-api-rate-limits.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.fakes.faults import Fault, Faults
from infra.fakes.guard import Dropped, Endpoint
from infra.fakes.pagerduty import records
from infra.fakes.pagerduty.state import INVALID_INPUT, PRIORITIES, FakeAccount, Refused

LIMIT_PER_MINUTE = 960
_MINUTE_S = 60.0
_RATE_LIMITED = 2020
_UNKNOWN_USER = 1008
_UNAUTHORIZED = 2006
_INTERNAL = 2000


class FakeApi:
    """The endpoints. ``token`` and ``from_email`` are what a caller must show, where they are given."""

    def __init__(self, account: FakeAccount, token: str = "", from_email: str = "") -> None:
        self._account = account
        self._token = token
        self._from_email = from_email
        self._faults = Faults()
        self._recent: deque[float] = deque()

    def app(self) -> Starlette:
        """The application."""
        return Starlette(
            routes=[
                Route("/incidents", self._guarded("list", self._list)),
                Route("/incidents", self._guarded("create", self._create), methods=["POST"]),
                Route("/incidents/{id}/log_entries", self._guarded("log_entries", self._log_of)),
                Route("/log_entries", self._guarded("log_entries", self._log)),
                Route("/priorities", self._guarded("priorities", self._priorities)),
                Route("/incidents/{id}", self._guarded("get", self._get)),
                Route("/incidents/{id}", self._guarded("put", self._put), methods=["PUT"]),
                Route("/incidents/{id}/notes", self._guarded("list_notes", self._notes)),
                Route("/incidents/{id}/notes", self._guarded("add_note", self._add_note), methods=["POST"]),
                Route("/_effects", self._effects),
                Route("/_faults", self._add_faults, methods=["POST"]),
            ]
        )

    def _guarded(self, name: str, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            self._account.calls[name] += 1
            fault = self._faults.next()
            try:
                self._check(request)
                if fault is not None and fault.kind == "status":
                    return self._with_limits(_error(fault.status, _code_of(fault), "Fault"), fault)
                response = await endpoint(request)
            except Refused as error:
                response = _error(error.status, error.code, error.message)
            if fault is not None and fault.kind == "slow":
                await asyncio.sleep(fault.seconds)
            return self._with_limits(response) if fault is None or fault.kind != "drop_after" else Dropped()

        return answer

    def _check(self, request: Request) -> None:
        authorization = request.headers.get("authorization", "")
        if self._token and authorization not in {f"Token token={self._token}", f"Bearer {self._token}"}:
            raise Refused(401, _UNAUTHORIZED, "Unauthorized")
        if self._from_email and request.method != "GET" and request.headers.get("from") != self._from_email:
            raise Refused(400, _UNKNOWN_USER, "Requester User Not Found")
        now = time.monotonic()
        while self._recent and now - self._recent[0] > _MINUTE_S:
            self._recent.popleft()
        if len(self._recent) >= LIMIT_PER_MINUTE:
            raise Refused(429, _RATE_LIMITED, "Rate Limit Exceeded")
        self._recent.append(now)

    def _with_limits(self, response: Response, fault: Fault | None = None) -> Response:
        oldest = self._recent[0] if self._recent else time.monotonic()
        response.headers["ratelimit-limit"] = str(LIMIT_PER_MINUTE)
        response.headers["ratelimit-remaining"] = str(LIMIT_PER_MINUTE - len(self._recent))
        response.headers["ratelimit-reset"] = str(max(1, round(_MINUTE_S - (time.monotonic() - oldest))))
        for name, value in fault.headers if fault else ():
            response.headers[name] = value
        return response

    async def _get(self, request: Request) -> Response:
        return JSONResponse({"incident": records.shown(self._account.get(request.path_params["id"]))})

    async def _put(self, request: Request) -> Response:
        given = records.edit_of((await _json(request)).get("incident"))
        return JSONResponse({"incident": records.shown(self._account.edit(request.path_params["id"], given))})

    async def _create(self, request: Request) -> Response:
        given = (await _json(request)).get("incident")
        if not isinstance(given, dict) or not isinstance(given.get("service"), dict):
            raise Refused(400, INVALID_INPUT, "Invalid Input Provided")
        fields = records.edit_of({**given, "status": None})
        made = self._account.create(fields.pop("title", ""), str(given.get("incident_key") or ""), **fields)
        return JSONResponse({"incident": records.shown(made)}, 201)

    async def _list(self, request: Request) -> Response:
        key = request.query_params.get("incident_key", "")
        found = [one for one in self._account.incidents.values() if not key or one.incident_key == key]
        return JSONResponse({"incidents": [records.shown(one) for one in found], "more": False})

    async def _log_of(self, request: Request) -> Response:
        incident = self._account.get(request.path_params["id"])
        return JSONResponse(records.log_page([incident], request.query_params))

    async def _log(self, request: Request) -> Response:
        return JSONResponse(records.log_page(self._account.incidents.values(), request.query_params))

    async def _priorities(self, request: Request) -> Response:
        del request
        return JSONResponse({"priorities": [{"id": id_, "name": name} for id_, name in PRIORITIES.items()]})

    async def _notes(self, request: Request) -> Response:
        return JSONResponse({"notes": records.notes(self._account.get(request.path_params["id"]))})

    async def _add_note(self, request: Request) -> Response:
        note = (await _json(request)).get("note")
        content = note.get("content") if isinstance(note, dict) else ""
        return JSONResponse({"note": self._account.add_note(request.path_params["id"], str(content or ""))}, 201)

    async def _effects(self, request: Request) -> Response:
        if text := request.query_params.get("note"):
            return JSONResponse({"notes": self._account.notes_with(text)})
        return JSONResponse(self._account.summary())

    async def _add_faults(self, request: Request) -> Response:
        return JSONResponse({"queued": self._faults.add(await _json(request))})


def _code_of(fault: Fault) -> int:
    return _RATE_LIMITED if fault.status == HTTPStatus.TOO_MANY_REQUESTS else _INTERNAL


def _error(status: int, code: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "code": code, "errors": [message]}}, status)


async def _json(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(await request.body())
    except ValueError as error:
        raise Refused(400, INVALID_INPUT, "Invalid Input Provided") from error
    return document if isinstance(document, dict) else {}
