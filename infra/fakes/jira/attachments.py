"""Attachments of the fake's issues: each upload makes another one, and nothing tells whether two are the same."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.fakes import contents
from infra.fakes.guard import Refused
from infra.fakes.jira import fields
from infra.fakes.jira.issues import Issue, Issues
from infra.fakes.jira.workflow import errors
from infra.fakes.store import Store

_SEE_OTHER = 303


class Attachments:
    """``most`` bytes are taken of a file (413 above)."""

    def __init__(self, store: Store, issues: Issues, most: int = 2**24) -> None:
        self._store = store
        self._issues = issues
        self._most = most

    def add(self, key: str, name: str, media_type: str, content: bytes, user: str) -> dict[str, Any]:
        """Keep a file of an issue; raises ``Refused``."""
        if len(content) > self._most:
            raise Refused(413, errors(f"The attachment '{name}' exceeds the maximum attachment size."))
        id_ = str(50_000 + self._store.count("sequence:attachment"))
        made = {"id": id_, "filename": name, "author": fields.person(user), "size": len(content)}
        made |= {
            "mimeType": media_type or "application/octet-stream",
            "content": f"/rest/api/3/attachment/content/{id_}",
        }
        contents.keep(self._store, id_, content)
        return self._issues.attach(key, made, user)

    async def upload(self, request: Request) -> Response:
        """``POST /issue/{key}/attachments``: a form with the part ``file``, and a header that no browser sends."""
        if request.headers.get("x-atlassian-token") != "no-check":
            return Response("XSRF check failed", 403)
        self._issues.get(request.path_params["key"])
        found = contents.part(request.headers.get("content-type", ""), await request.body(), "file")
        if found is None:
            raise Refused(400, errors("No multipart part named 'file'"))
        made = self.add(request.path_params["key"], *found, fields.SELF)
        return JSONResponse([made])

    async def content(self, request: Request) -> Response:
        """``GET /attachment/content/{id}``: 303 to another host, unless ``redirect=false``."""
        found = self._find(request.path_params["id"])
        if request.query_params.get("redirect") != "false":
            elsewhere = f"https://api.media.example/file/{found['id']}/binary"
            return Response(status_code=_SEE_OTHER, headers={"Location": elsewhere})
        return Response(contents.kept(self._store, found["id"]), media_type=found["mimeType"])

    async def remove(self, request: Request) -> Response:
        """``DELETE /attachment/{id}``."""
        self.delete(request.path_params["id"], fields.SELF)
        return Response(status_code=204)

    def delete(self, id_: str, user: str) -> None:
        """Delete a file; raises ``Refused`` 404."""
        self._find(id_)
        self._issues.detach(id_, user)
        contents.forget(self._store, id_)

    def _find(self, id_: str) -> dict[str, Any]:
        for issue in self._store.all("issue"):
            for one in attachments_of(issue):
                if one["id"] == id_:
                    return one
        raise Refused(404, errors("The attachment was not found"))


def attachments_of(issue: Issue) -> list[dict[str, Any]]:
    """The files of an issue; one that an earlier version of the fake made has none."""
    found: list[dict[str, Any]] = issue.get("attachments", [])
    return found
