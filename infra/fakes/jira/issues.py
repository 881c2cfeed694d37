"""The fake's issues: fields, transitions, comments, changelog, links. There is no version number and no ETag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from infra.fakes.guard import Refused
from infra.fakes.jira import fields, workflow
from infra.fakes.jira.search import Index
from infra.fakes.jira.workflow import errors
from infra.fakes.store import Store

Issue = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write, as webhooks tell it; ``kind`` is created, updated, commented or deleted."""

    kind: str
    issue: Issue
    user: str
    at: float
    items: list[dict[str, Any]] = field(default_factory=list)
    comment: dict[str, Any] | None = None


class Issues:
    """``clock`` gives seconds; ``on_change`` is told each committed write that Jira sends webhooks for."""

    def __init__(
        self, store: Store, index: Index, project: str, clock: Callable[[], float], on_change: Callable[[Change], None]
    ) -> None:
        self._store = store
        self._index = index
        self._project = project
        self._clock = clock
        self._on_change = on_change

    def create(self, document: Mapping[str, Any], user: str) -> Issue:
        """Make an issue; raises ``Refused`` 400."""
        given = dict(document.get("fields", {}))
        project, kind = given.pop("project", {}), given.pop("issuetype", {})
        if project.get("key") != self._project:
            raise Refused(400, errors(project="valid project is required"))
        if not (kind.get("name") or kind.get("id")):
            raise Refused(400, errors(issuetype="Specify a valid issue type"))
        if not given.get("summary"):
            raise Refused(400, errors(summary="You must specify a summary of the issue."))
        values = fields.accepted(given, {}, [])
        with self._store.transaction():
            place = self._store.count("sequence:issue")
            now = self._now()
            empty: dict[str, Any] = {
                "description": None,
                "priority": {"id": "3", "name": "Medium"},
                "labels": [],
                "assignee": None,
            }
            shown = {"status": workflow.TO_DO.shown(), "resolution": None, "created": now, "updated": now}
            made = {"project": {"key": self._project}, "issuetype": {"name": kind.get("name", "Incident")}}
            issue: Issue = {"id": str(10_000 + place), "key": f"{self._project}-{place}", "changelog": []}
            issue |= {
                "comments": [],
                "remotelinks": {},
                "attachments": [],
                "fields": {**empty, **shown, **made, **values},
            }
            self._put(issue)
            self._store.count("effect:created")
        self._on_change(Change("created", issue, user, self._clock()))
        return issue

    def edit(self, key: str, document: Mapping[str, Any], user: str) -> Issue:
        """Set fields; an edit that changes nothing still moves ``updated``. Raises ``Refused``."""
        issue = self.get(key)
        values = fields.accepted(document.get("fields", {}), document.get("update", {}), issue["fields"]["labels"])
        return self._changed(issue, values, user, "updated")

    def transition(self, key: str, document: Mapping[str, Any], user: str) -> Issue:
        """Follow an arrow of the workflow; raises ``Refused``."""
        issue = self.get(key)
        given = dict(document.get("fields", {}))
        wanted = str(document.get("transition", {}).get("id", ""))
        chosen = workflow.chosen(issue["fields"]["status"]["id"], wanted, given)
        resolution = given.pop("resolution", None) if chosen.to.category == "done" else None
        kept = issue["fields"]["resolution"] if chosen.to.category == "done" and resolution is None else resolution
        values = fields.accepted(given, {}, []) | {"status": chosen.to.shown(), "resolution": kept}
        return self._changed(issue, values, user, "transitioned")

    def comment(self, key: str, body: Any, user: str) -> dict[str, Any]:
        """Add a comment; each call adds one. Raises ``Refused``."""
        try:
            content = fields.document(body)
        except ValueError as error:
            raise Refused(400, errors(comment=str(error))) from error
        if not content or not fields.plain(content).strip():
            raise Refused(400, errors(comment="Comment body can not be empty!"))
        issue = self.get(key)
        with self._store.transaction():
            now = self._now()
            comment: dict[str, Any] = {
                "id": str(20_000 + self._store.count("sequence:comment")),
                "author": fields.person(user),
            }
            comment |= {"body": content, "created": now, "updated": now, "jsdPublic": False}
            issue["comments"].append(comment)
            issue["fields"]["updated"] = now
            self._put(issue)
            self._store.count("effect:commented")
        self._on_change(Change("commented", issue, user, self._clock(), comment=comment))
        return comment

    def link(self, key: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Add a remote link, or replace the one of the same ``globalId``."""
        issue = self.get(key)
        global_id = str(document.get("globalId") or document.get("object", {}).get("url", ""))
        if not document.get("object", {}).get("url") or not document["object"].get("title"):
            raise Refused(400, errors(object="'url' and 'title' are required"))
        with self._store.transaction():
            known = issue["remotelinks"].get(global_id)
            link = {"id": known["id"] if known else 30_000 + self._store.count("sequence:link")}
            issue["remotelinks"][global_id] = link | {"globalId": global_id, "object": document["object"]}
            self._put(issue)
            self._store.count("effect:linked")
        return link

    def attach(self, key: str, file: dict[str, Any], user: str) -> dict[str, Any]:
        """Add a file to an issue, which changes it; raises ``Refused``."""
        issue = self.get(key)
        file["created"] = self._now()
        issue["attachments"] = [*issue.get("attachments", []), file]
        self._files_changed(issue, {"to": file["id"], "toString": file["filename"]}, user)
        self._store.count("effect:attachment")
        return file

    def detach(self, file_id: str, user: str) -> None:
        """Take a file off the issue that has it."""
        for issue in self._store.all("issue"):
            held = issue.get("attachments", [])
            gone = [one for one in held if one["id"] == file_id]
            if gone:
                issue["attachments"] = [one for one in held if one["id"] != file_id]
                self._files_changed(issue, {"from": file_id, "fromString": gone[0]["filename"]}, user)

    def _files_changed(self, issue: Issue, item: dict[str, str], user: str) -> None:
        empty = dict.fromkeys(("from", "fromString", "to", "toString"))
        items = [{"field": "Attachment", "fieldId": "attachment", "fieldtype": "jira", **empty, **item}]
        with self._store.transaction():
            now = self._now()
            issue["fields"]["updated"] = now
            entry = {"id": str(40_000 + self._store.count("sequence:history")), "author": fields.person(user)}
            issue["changelog"].append(entry | {"created": now, "items": items})
            self._put(issue)
        self._on_change(Change("updated", issue, user, self._clock(), items))

    def delete(self, key: str, user: str) -> None:
        """Delete an issue; it is gone, and nothing but the webhook tells so."""
        issue = self.get(key)
        with self._store.transaction():
            self._store.delete("issue", issue["key"])
            self._index.forget(issue["key"])
            self._store.count("effect:deleted")
        self._on_change(Change("deleted", issue, user, self._clock()))

    def get(self, key: str) -> Issue:
        """An issue by key or id; raises ``Refused`` 404, which also stands for "you may not see it"."""
        found = self._store.get("issue", key)
        if found is None and key.isdigit():
            found = next((one for one in self._store.all("issue") if one["id"] == key), None)
        if found is None:
            raise Refused(404, errors("Issue does not exist or you do not have permission to see it."))
        return found

    def _changed(self, issue: Issue, values: Mapping[str, Any], user: str, effect: str) -> Issue:
        before = issue["fields"]
        items = [fields.logged(name, before[name], value) for name, value in values.items() if before[name] != value]
        with self._store.transaction():
            now = self._now()
            issue["fields"] = {**before, **values, "updated": now}
            if items:
                entry = {"id": str(40_000 + self._store.count("sequence:history")), "author": fields.person(user)}
                issue["changelog"].append(entry | {"created": now, "items": items})
                self._store.count(f"effect:{effect}")
            self._put(issue)
        if items:
            self._on_change(Change("updated", issue, user, self._clock(), items))
        return issue

    def _put(self, issue: Issue) -> None:
        self._store.put("issue", issue["key"], issue)
        self._index.learn(issue)

    def _now(self) -> str:
        return jira_time(self._clock())


def jira_time(seconds: float) -> str:
    """A time as Jira writes it: milliseconds, and an offset without a colon."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
