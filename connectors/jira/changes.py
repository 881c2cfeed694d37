"""The changelog of an issue: what changed since a version, and whether it was our account that did it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from connectors.jira.calls import Site, not_gone
from connectors.jira.issues import milliseconds
from connectors.kit import limits
from connectors.kit.http import Answer
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone
from connectors.kit.tickets import Failure, FieldChange

_AT_ONCE = 100
_IDS = frozenset({"assignee"})
"""Fields whose value is an id, not what people read."""


async def since(site: Site, external_id: str, version: int) -> list[FieldChange] | Gone | Failure:
    """The changes after a version, oldest first."""
    account = await _account(site)
    if not isinstance(account, str):
        return account
    entries: list[dict[str, Any]] = []
    while True:
        path = f"/issue/{quote(external_id, safe='')}/changelog?startAt={len(entries)}&maxResults={_AT_ONCE}"
        answer = await site.call("GET", path)
        if not isinstance(answer, Answer):
            return answer
        document = as_object(answer.json())
        values = document.get("values")
        page = [as_object(one) for one in values] if isinstance(values, list) else []
        entries += page
        if document.get("isLast", True) or not page:
            break
    newer = [one for one in entries if milliseconds(one.get("created")) > version]
    categories = await _categories(site) if any(_has_status(one) for one in newer) else {}
    if not isinstance(categories, dict):
        return categories
    newer.sort(key=lambda one: milliseconds(one.get("created")))
    return [change for entry in newer for change in _changes(site, entry, account, categories)]


def _changes(site: Site, entry: dict[str, Any], account: str, categories: dict[str, str]) -> list[FieldChange]:
    version = milliseconds(entry.get("created"))
    ours = as_object(entry.get("author")).get("accountId") == account
    found = []
    for item in _items(entry):
        name = str(item.get("fieldId") or item.get("field") or "")
        ends = ("from", "to") if name in _IDS else ("fromString", "toString")
        before, after = (limits.text(item.get(end), limits.TEXT_CHARACTERS) for end in ends)
        if name in site.config.fields:
            found.append(FieldChange(version, name, before, after, ours))
        if name == "status":
            before, after = (categories.get(str(item.get(end)), "") for end in ("from", "to"))
            found.append(FieldChange(version, "status_category", before, after, ours))
    return found


def _items(entry: dict[str, Any]) -> list[dict[str, Any]]:
    items = entry.get("items")
    return [as_object(one) for one in items] if isinstance(items, list) else []


def _has_status(entry: dict[str, Any]) -> bool:
    return any(item.get("field") == "status" for item in _items(entry))


async def _account(site: Site) -> str | Failure:
    if site.config.account_id:
        return site.config.account_id
    answer = not_gone(await site.call("GET", "/myself"))
    return str(as_object(answer.json()).get("accountId", "")) if isinstance(answer, Answer) else answer


async def _categories(site: Site) -> dict[str, str] | Failure:
    """The category of each status, by its id: the changelog does not tell it."""
    answer = not_gone(await site.call("GET", "/status"))
    if not isinstance(answer, Answer):
        return answer
    document = answer.json()
    statuses = [as_object(one) for one in document] if isinstance(document, list) else []
    return {str(one.get("id")): str(as_object(one.get("statusCategory")).get("key", "")) for one in statuses}
