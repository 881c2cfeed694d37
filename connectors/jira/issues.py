"""Issues of Jira to tickets.

Values as text: ``priority``, ``status`` and ``resolution`` are names, ``status_category`` is the key of the status's
category (``new``, ``indeterminate``, ``done``), ``assignee`` an account id, ``description`` the text of its document.
The version is the time of the last change in milliseconds: there is no counter.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from connectors.jira.config import JiraConfig
from connectors.jira.documents import document, plain
from connectors.kit import limits
from connectors.kit.intake import as_object, in_range
from connectors.kit.markers import is_ticket_marker
from connectors.kit.tickets import Ticket

SYNCED: Final = "incidents-sync"
"""The label of every issue that has a marker: labels cannot be searched by their beginning."""

STATUS_FIELDS: Final = frozenset({"status", "status_category"})


def asked(config: JiraConfig) -> list[str]:
    """The fields to ask Jira for."""
    return [*(name for name in config.fields if name != "status_category"), "labels", "updated"]


def ticket_of(config: JiraConfig, issue: Mapping[str, Any], updated_by: str = "") -> Ticket | None:
    """The ticket that an issue is; ``None`` for something without an id."""
    external_id, fields = limits.identity(issue.get("id")), as_object(issue.get("fields"))
    if not external_id:
        return None
    key, updated = limits.text(issue.get("key")), milliseconds(fields.get("updated"))
    return Ticket(
        external_id=external_id,
        external_key=key,
        url=f"{config.base_url.rstrip('/')}/browse/{quote(key, safe='')}" if key else "",
        marker=marker_of(fields.get("labels")),
        version=updated,
        updated_at=updated,
        updated_by=updated_by,
        fields=values(config, fields),
    )


def values(config: JiraConfig, fields: Mapping[str, Any]) -> dict[str, str]:
    """The followed fields that an issue shows, as text."""
    found: dict[str, str] = {}
    for name in config.fields:
        source = "status" if name == "status_category" else name
        if source in fields:
            found[name] = limits.text(_text(name, fields[source]), limits.TEXT_CHARACTERS)
    return found


def _text(name: str, value: Any) -> str:
    if name == "description":
        return plain(value)
    if isinstance(value, dict):
        part = {"status_category": value.get("statusCategory"), "assignee": value.get("accountId")}
        if name == "status_category":
            return limits.text(as_object(part[name]).get("key"))
        return limits.text(part["assignee"] if name == "assignee" else value.get("name") or value.get("value"))
    return limits.text(value, limits.TEXT_CHARACTERS)


def marker_of(labels: Any) -> str:
    """The marker among an issue's labels, the first where there are more; empty where there is none."""
    found = [one for one in labels if isinstance(one, str)] if isinstance(labels, list) else []
    return next(filter(is_ticket_marker, found), "")


def edit(config: JiraConfig, changes: Mapping[str, str]) -> dict[str, Any]:
    """Changes as Jira's ``fields``, without those that take a transition."""
    return {
        name: written(config, name, value)
        for name, value in changes.items()
        if name not in {*STATUS_FIELDS, "resolution"}
    }


def written(config: JiraConfig, name: str, value: str) -> Any:
    """A value as Jira wants it to be written; raises ``ValueError`` for a number that is none."""
    match name, config.extra_fields.get(name, ""):
        case "summary", _:
            return " ".join(value.split())
        case "description", _:
            return document(value) if value else None
        case "priority" | "resolution", _:
            return {"name": value} if value else None
        case "assignee", _:
            return {"accountId": value or None}
        case _, "option":
            return {"value": value} if value else None
        case _, "number":
            return float(value) if value else None
        case _:
            return value or None


def milliseconds(value: Any) -> int:
    """A time of Jira (its offset has no colon) in milliseconds; 0 where there is none."""
    try:
        moment = datetime.fromisoformat(str(value))
        return in_range(round(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        return 0
