"""Reading what changed: tickets by keyset, then the notes on them, then what was deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors.kit import limits
from connectors.kit.http import Answer
from connectors.kit.intake import as_object
from connectors.kit.markers import is_ticket_marker
from connectors.kit.outcome import PermanentFailure
from connectors.kit.tickets import Cursor, Failure, FilesSeen, Note, Page, Ticket
from connectors.servicenow import queries
from connectors.servicenow.calls import Instance
from connectors.servicenow.inbound import note_of
from connectors.servicenow.records import text, ticket_of

_FROM_NOW_MS = 3_600_000
"""How far back a cursor that is empty begins: the instance's clock need not agree with ours."""

_NOTES = 1_000
_FILES = 1_000
_AT_ONCE = 50
"""Records that one query names: their ids stand in its address."""


async def page(at: Instance, cursor: Cursor, limit: int, now: int) -> Page | Failure:
    """One page of changes after the cursor (``now`` in milliseconds)."""
    since = cursor if cursor.updated_at else replace(cursor, updated_at=now - _FROM_NOW_MS)
    began = since.began or since.updated_at
    answer = await at.call("GET", queries.changed(at.config, since, limit))
    if not isinstance(answer, Answer):
        return answer
    found = [ticket for one in rows(answer) if (ticket := ticket_of(at.config, as_object(one))) is not None]
    keys = [(one.updated_at, one.external_id) for one in found]
    if keys != sorted(keys) or any(one.updated_at < since.updated_at // 1000 * 1000 for one in found):
        return PermanentFailure("the instance did not understand the query for changes")
    tickets = [one for one in found if is_ticket_marker(one.marker)]
    notes = await _notes(at, tickets, began)
    if not isinstance(notes, list):
        return notes
    is_last = len(found) < limit
    gone = await _deleted(at, began, limit) if is_last and at.config.poll_deletes else []
    if not isinstance(gone, list):
        return gone
    files = await _files(at, began) if is_last and at.config.poll_files else []
    if not isinstance(files, list):
        return files
    return Page(tickets, Cursor(*keys[-1], began) if keys else since, is_last, gone, notes, files)


async def _notes(at: Instance, tickets: list[Ticket], since: int) -> list[Note] | Failure:
    if not tickets or not at.config.poll_notes:
        return []
    ids = [one.external_id for one in tickets]
    answer = await at.call("GET", queries.new_notes(ids, since, _NOTES))
    if not isinstance(answer, Answer):
        return answer
    entries = [as_object(one) for one in rows(answer)]
    return [note_of(id_, one) for one in entries if (id_ := text(one.get("element_id"))) in ids]


async def _files(at: Instance, since: int) -> list[FilesSeen] | Failure:
    """The new files of linked records; none where the account may not read them: the rest is read all the same."""
    answer = await at.call("GET", queries.new_files(since, _FILES))
    if isinstance(answer, PermanentFailure):
        return []
    if not isinstance(answer, Answer):
        return answer
    made: dict[str, list[str]] = {}
    for one in map(as_object, rows(answer)):
        if text(one.get("table_name")) == "incident" and one.get("sys_id"):
            made.setdefault(text(one.get("table_sys_id")), []).append(limits.identity(text(one["sys_id"])))
    linked: list[str] = []
    for start in range(0, len(ids := sorted(made)), _AT_ONCE):
        answer = await at.call("GET", queries.marked_among(ids[start : start + _AT_ONCE]))
        if not isinstance(answer, Answer):
            return answer
        linked += [text(as_object(one).get("sys_id")) for one in rows(answer)]
    return [FilesSeen(one, tuple(made[one]), complete=False) for one in linked if one in made]


async def _deleted(at: Instance, since: int, limit: int) -> list[str] | Failure:
    answer = await at.call("GET", queries.deleted(since, limit))
    if not isinstance(answer, Answer):
        return answer
    traces = [as_object(one) for one in rows(answer)]
    return [text(one.get("documentkey")) for one in traces if text(one.get("tablename")) == "incident"]


def rows(answer: Answer) -> list[Any]:
    """The records of a list; none where the answer is no list (404: no record was found)."""
    found = as_object(answer.json()).get("result")
    return found if isinstance(found, list) else []
