"""Reading what changed: the list of incidents by time of change, and the status and severity updates of one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from connectors.incidentio.calls import Account, after, not_gone, objects
from connectors.incidentio.incidents import instant, ticket_of
from connectors.kit import limits
from connectors.kit.http import Answer
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, PermanentFailure, TransientFailure
from connectors.kit.tickets import Cursor, Failure, FieldChange, Page, Ticket

_PAGE = 250
"""The most that the API gives at once."""

_PAGES = 40
"""More incidents than this do not change in the days that a poll looks back; a list without end is refused."""

_FROM_NOW_MS = 3_600_000


async def page(at: Account, cursor: Cursor, limit: int, now: int) -> Page | Failure:
    """One page of changes after the cursor (``now`` in milliseconds).

    The API lists by creation and filters by day of change, so the list is read whole and put in order here.
    """
    since = cursor if cursor.updated_at else replace(cursor, updated_at=now - _FROM_NOW_MS)
    day = datetime.fromtimestamp(since.updated_at / 1000, UTC).date().isoformat()
    found: list[Ticket] = []
    behind = ""
    for _ in range(_PAGES):
        path = f"/v2/incidents?page_size={_PAGE}&updated_at%5Bgte%5D={day}"
        answer = not_gone(await at.call("GET", path + (f"&after={quote(behind, safe='')}" if behind else "")))
        if not isinstance(answer, Answer):
            return answer
        found += [one for each in objects(answer, "incidents") if (one := ticket_of(at.config, each)) is not None]
        behind = after(answer)
        if not behind:
            return _page(found, since, limit)
    return PermanentFailure(f"more than {_PAGES * _PAGE} incidents changed since {day}")


def _page(found: list[Ticket], since: Cursor, limit: int) -> Page:
    place = (since.updated_at, since.external_id)
    changed = sorted(
        {one.external_id: one for one in found if (one.updated_at, one.external_id) > place}.values(),
        key=lambda one: (one.updated_at, one.external_id),
    )
    shown = changed[:limit]
    cursor = Cursor(shown[-1].updated_at, shown[-1].external_id, since.began) if shown else since
    return Page([one for one in shown if one.marker], cursor, is_last=len(changed) <= limit)


async def history(
    at: Account, external_id: str, since: int
) -> list[FieldChange] | Gone | TransientFailure | PermanentFailure:
    """The changes of status and severity after a version, oldest first; of other fields there is no history."""
    updates: list[dict[str, Any]] = []
    behind = ""
    for _ in range(_PAGES):
        path = f"/v2/incident_updates?incident_id={quote(external_id, safe='')}&page_size={_PAGE}"
        answer = await at.call("GET", path + (f"&after={quote(behind, safe='')}" if behind else ""))
        if not isinstance(answer, Answer):
            return answer
        updates += objects(answer, "incident_updates")
        behind = after(answer)
        if not behind:
            break
    updates.sort(key=lambda one: (instant(one.get("created_at")), str(one.get("id", ""))))
    found: list[FieldChange] = []
    last: dict[str, str] = {}
    for update in updates:
        version = instant(update.get("created_at"))
        for name, value in _told(update).items():
            if version > since and last.get(name) != value:
                found.append(FieldChange(version, name, last.get(name, ""), value, _is_ours(at, update)))
            last[name] = value
    return found


def _told(update: dict[str, Any]) -> dict[str, str]:
    status, severity = as_object(update.get("new_incident_status")), as_object(update.get("new_severity"))
    told = {"status": status.get("name"), "status_category": status.get("category"), "severity": severity.get("name")}
    return {name: limits.text(value) for name, value in told.items() if value is not None}


def _is_ours(at: Account, update: dict[str, Any]) -> bool:
    key = as_object(as_object(update.get("updater")).get("api_key"))
    return bool(key) and at.config.api_key_id in {"", key.get("id")}
