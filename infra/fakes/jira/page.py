"""The fake's page: each issue with the fields that a person at Jira edits."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from infra.fakes.guard import Refused
from infra.fakes.jira import fields, workflow
from infra.fakes.jira.attachments import Attachments, attachments_of
from infra.fakes.jira.issues import Issue, Issues
from infra.fakes.page import Input, Ticket, render, submitted
from infra.fakes.store import Store

EDITOR = next(iter(fields.PEOPLE))
"""The account that the page acts as."""


def answer(store: Store, message: str = "") -> HTMLResponse:
    """The page; ``message`` is why a change was refused."""
    tickets = [_ticket(issue) for issue in store.all("issue")]
    return HTMLResponse(render("Jira issues (fake)", tickets, message), 400 if message else 200)


def _ticket(issue: Issue) -> Ticket:
    shown = issue["fields"]
    offered = workflow.available(shown["status"]["id"])
    people = {"": "nobody"} | fields.PEOPLE
    inputs = [
        Input("summary", "Summary", shown["summary"]),
        Input("priority", "Priority", shown["priority"]["id"], fields.PRIORITIES),
        Input("assignee", "Assignee", (shown["assignee"] or {}).get("accountId", ""), people),
        Input("transition", "Transition", "", {"": "stay"} | {one.id: one.name for one in offered}),
        Input("comment", "Comment"),
        Input("file_name", "New text file"),
        Input("file_text", "Its text"),
    ]
    notes = [
        f"{one['created']} {one['author']['displayName']}: {fields.plain(one['body'])}" for one in issue["comments"]
    ]
    notes += [
        f"file {one['filename']}, {one['size']} bytes, by {one['author']['displayName']}"
        for one in attachments_of(issue)
    ]
    notes += [f"link {one['object']['title']}: {one['object']['url']}" for one in issue["remotelinks"].values()]
    return Ticket(issue["key"], f"{issue['key']} · {shown['status']['name']}", inputs, notes)


async def submit(request: Request, issues: Issues, store: Store, attachments: Attachments) -> Response:
    """Carry out what a form asks for."""
    form, key = await submitted(request), request.path_params["key"]
    edited = {name: _value(name, form[name]) for name in ("summary", "priority", "assignee") if name in form}
    try:
        if edited:
            issues.edit(key, {"fields": edited}, EDITOR)
        if form.get("transition"):
            resolution = {"resolution": {"name": "Done"}} if form["transition"] == "31" else {}
            issues.transition(key, {"transition": {"id": form["transition"]}, "fields": resolution}, EDITOR)
        if form.get("comment"):
            issues.comment(key, document(form["comment"]), EDITOR)
        if form.get("file_name"):
            attachments.add(key, form["file_name"], "text/plain", form.get("file_text", "").encode(), EDITOR)
    except Refused as refused:
        return answer(store, str(refused.document))
    return Response(status_code=303, headers={"Location": "/"})


def _value(name: str, text: str) -> Any:
    if name == "priority":
        return {"id": text}
    if name == "assignee":
        return {"accountId": text or None}
    return text


def document(text: str) -> dict[str, Any]:
    """A text as a document of one paragraph."""
    return {
        "type": "doc",
        "version": 1,
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}],
    }
