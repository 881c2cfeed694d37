"""Log entries: what happened to incidents, when, and who did it; of status alone they tell what it became."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from connectors.kit import limits
from connectors.kit.http import Answer
from connectors.kit.intake import as_object
from connectors.kit.tickets import Cursor, FieldChange, Note, Page, Ticket
from connectors.pagerduty.incidents import instant, ticket_of
from connectors.pagerduty.requests import objects

FROM_NOW_MS: Final = 3_600_000
"""How far back a cursor that is empty begins."""

MOST: Final = 10_000
"""The API pages no further."""

_STATUS = {
    "trigger_log_entry": "triggered",
    "acknowledge_log_entry": "acknowledged",
    "unacknowledge_log_entry": "triggered",
    "resolve_log_entry": "resolved",
}
_NOTE = "annotate_log_entry"
_AT_ONCE = 100


def of_incident(external_id: str, since: int) -> str:
    """The path of an incident's entries since a version."""
    return f"/incidents/{quote(external_id, safe='')}/log_entries?{urlencode({'since': _text(since), 'limit': '100'})}"


def of_account(since: int, offset: int) -> str:
    """The path of a page of all entries since an instant, each with its incident."""
    query = {"since": _text(since), "limit": str(_AT_ONCE), "offset": str(offset), "include[]": "incidents"}
    return f"/log_entries?{urlencode(query)}"


def changes(answer: Answer, user_id: str, since: int) -> list[FieldChange]:
    """The changes of status after a version, oldest first."""
    found, last = [], ""
    for entry in sorted(objects(answer, "log_entries"), key=_place):
        status, at = _STATUS.get(str(entry.get("type"))), instant(entry.get("created_at"))
        if status is None:
            continue
        if at > since:
            is_ours = bool(user_id) and as_object(entry.get("agent")).get("id") == user_id
            found.append(FieldChange(at, "status", last, status, is_ours))
        last = status
    return found


def page(entries: list[dict[str, Any]], cursor: Cursor, begin: int, limit: int) -> Page:
    """The incidents of the entries in order of change: those behind the cursor or with new notes, up to ``limit``."""
    found: dict[str, Ticket] = {}
    for entry in sorted(entries, key=_place):
        ticket = ticket_of(as_object(entry.get("incident")))
        if ticket is not None:
            found[ticket.external_id] = ticket
    place = (cursor.updated_at or begin, cursor.external_id)
    changed = sorted(
        (one for one in found.values() if (one.updated_at, one.external_id) > place),
        key=lambda one: (one.updated_at, one.external_id),
    )
    shown = changed[:limit]
    end = (shown[-1].updated_at, shown[-1].external_id) if shown else place
    return Page([one for one in shown if one.marker], Cursor(*end, cursor.began), is_last=len(changed) <= limit)


def annotated(entries: list[dict[str, Any]]) -> list[str]:
    """The incidents of ours that got notes."""
    incidents = (ticket_of(as_object(entry.get("incident"))) for entry in entries if entry.get("type") == _NOTE)
    return sorted({one.external_id for one in incidents if one is not None and one.marker})


def notes(answer: Answer, external_id: str, since: int) -> list[Note]:
    """The notes of an incident since an instant; each as a webhook tells it."""
    found = [
        Note(
            external_id=external_id,
            note_id=limits.identity(note.get("id")),
            author=limits.text(as_object(note.get("user")).get("summary")),
            text=limits.text(note.get("content"), limits.TEXT_CHARACTERS),
            at=instant(note.get("created_at")),
            kind="note",
        )
        for note in objects(answer, "notes")
    ]
    return [note for note in found if note.at >= since]


def _place(entry: dict[str, Any]) -> tuple[int, str]:
    return instant(entry.get("created_at")), str(entry.get("id", ""))


def _text(milliseconds: int) -> str:
    return datetime.fromtimestamp(max(0, milliseconds) / 1000, UTC).isoformat(timespec="seconds")
