"""Jira's webhooks: bodies and headers of https://developer.atlassian.com/cloud/jira/platform/webhooks/.

Texts are plain here (webhooks carry wiki markup, not documents). A comment is told twice: by itself, and as an update
of its issue.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

from infra.fakes.jira import fields
from infra.fakes.jira.issues import Change, Issue

Webhook = tuple[str, dict[str, Any]]
"""The identifier of a delivery, the same for its retries, and its body."""


def bodies(change: Change, place: int) -> Iterator[Webhook]:
    """The webhooks of a change; ``place`` counts changes."""
    issue = change.issue
    common = {"timestamp": int(change.at * 1000), "user": fields.person(change.user), "issue": _shown(issue)}
    match change.kind:
        case "created":
            yield _identified(place, {**common, "webhookEvent": "jira:issue_created"}, "issue_created")
        case "deleted":
            yield _identified(place, {**common, "webhookEvent": "jira:issue_deleted"}, "issue_deleted")
        case "commented":
            comment = {**(change.comment or {})}
            comment["body"] = fields.plain(comment["body"])
            told = {key: value for key, value in common.items() if key != "user"} | {"comment": comment}
            yield _identified(place, {**told, "webhookEvent": "comment_created"}, "")
            updated = {**common, "comment": comment, "webhookEvent": "jira:issue_updated"}
            yield _identified(place, updated, "issue_commented")
        case _:
            log = {"id": issue["changelog"][-1]["id"], "items": change.items}
            body = {**common, "changelog": log, "webhookEvent": "jira:issue_updated"}
            yield _identified(place, body, "issue_generic" if _moved(change) else "issue_updated")


def sign(content: bytes, secret: str) -> dict[str, str]:
    """The WebSub signature; none where the webhook has no secret."""
    if not secret:
        return {}
    return {"X-Hub-Signature": "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()}


def headers(identifier: str) -> dict[str, str]:
    """What goes with a webhook besides its signature."""
    return {"X-Atlassian-Webhook-Identifier": identifier, "X-Atlassian-Webhook-Flow": "Primary"}


def _identified(place: int, body: dict[str, Any], kind: str) -> Webhook:
    if kind:
        body["issue_event_type_name"] = kind
    return hashlib.sha256(f"{place}:{body['webhookEvent']}".encode()).hexdigest()[:40], body


def _shown(issue: Issue) -> dict[str, Any]:
    shown = {**issue["fields"], "description": fields.plain(issue["fields"]["description"]) or None}
    shown["attachment"] = issue.get("attachments", [])
    return {"id": issue["id"], "key": issue["key"], "self": f"/rest/api/2/issue/{issue['id']}", "fields": shown}


def _moved(change: Change) -> bool:
    return any(item["field"] == "status" for item in change.items)
