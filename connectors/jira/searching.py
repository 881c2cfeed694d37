"""Finding issues: JQL, whose index lags behind, and reading by key, which does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from connectors.jira.calls import Site, not_gone
from connectors.jira.inbound import files_seen, note_of
from connectors.jira.issues import SYNCED, asked, ticket_of
from connectors.kit.http import Answer
from connectors.kit.intake import as_object
from connectors.kit.markers import is_ticket_marker
from connectors.kit.outcome import PermanentFailure
from connectors.kit.tickets import Cursor, Failure, FilesSeen, Note, Page, Ticket

_FROM_NOW_MS = 3_600_000
_MINUTE_MS = 60_000
_AHEAD = 50
"""How many keys after the newest that search knows are read: as many issues may have been made within its lag."""

_AT_ONCE: Final = 50
_MAX_PAGES = 40


async def with_marker(site: Site, marker: str) -> list[Ticket] | Failure:
    """Issues with a marker: those that search finds, and those that are too new for it."""
    answer = await _search(site, f'labels = "{quoted(marker)}" ORDER BY created ASC', 10)
    if not isinstance(answer, Answer):
        return answer
    newest = await _search(site, f'project = "{quoted(site.config.project)}" ORDER BY created DESC', 1)
    if not isinstance(newest, Answer):
        return newest
    known = _issues(newest)
    ahead = await _ahead(site, known[0] if known else {})
    if not isinstance(ahead, list):
        return ahead
    found: dict[str, Ticket] = {}
    for issue in (*_issues(answer), *known, *ahead):
        ticket = ticket_of(site.config, issue)
        if ticket is not None and marker in as_object(issue.get("fields")).get("labels", ()):
            found[ticket.external_id] = ticket
    return sorted(found.values(), key=lambda one: place(one)[1])


async def _ahead(site: Site, newest: Mapping[str, Any]) -> list[dict[str, Any]] | Failure:
    """The issues right after the newest that search knows of, by their keys."""
    last = str(newest.get("key", "")).rpartition("-")[2]
    first = int(last) + 1 if last.isdigit() else 1
    keys = [f"{site.config.project}-{number}" for number in range(first, first + _AHEAD)]
    document = {"issueIdsOrKeys": keys, "fields": asked(site.config)}
    answer = not_gone(await site.call("POST", "/issue/bulkfetch", document))
    return _issues(answer) if isinstance(answer, Answer) else answer


async def changed(site: Site, cursor: Cursor, limit: int, now: int) -> Page | Failure:
    """One page of marked issues that changed after the cursor (``now`` in milliseconds).

    JQL compares times by the minute, in a time zone that is the account's; so the query asks for the last so many
    minutes, and what lies before the cursor is left out here.
    """
    since = cursor if cursor.updated_at else Cursor(now - _FROM_NOW_MS, began=cursor.began)
    began = since.began or since.updated_at
    minutes = max(1, (now - since.updated_at) // _MINUTE_MS + 2)
    place_ = f'project = "{quoted(site.config.project)}" AND labels = "{SYNCED}"'
    jql = f'{place_} AND updated >= "-{minutes}m" ORDER BY updated ASC, key ASC'
    tickets: list[Ticket] = []
    notes: list[Note] = []
    files: list[FilesSeen] = []
    is_last = True
    async for answer in _pages(site, jql):
        if not isinstance(answer, Answer):
            return answer
        for issue in _issues(answer):
            ticket = ticket_of(site.config, issue)
            if ticket is None or not is_ticket_marker(ticket.marker) or place(ticket) <= _start(since):
                continue
            if len(tickets) == limit:
                return Page(tickets, _after(tickets, since, began), is_last=False, notes=notes, files=files)
            tickets.append(ticket)
            notes += _notes(ticket, issue, began)
            seen = files_seen(ticket.external_id, issue)
            files += [seen] if seen else []
        is_last = not _next_page(answer)
    if not is_last and not tickets:
        return PermanentFailure("more issues changed in the same minutes than can be read")
    return Page(tickets, _after(tickets, since, began), is_last, notes=notes, files=files)


async def _pages(site: Site, jql: str) -> AsyncIterator[Answer | Failure]:
    token = ""
    for _ in range(_MAX_PAGES):
        answer = await _search(site, jql, _AT_ONCE, token, "comment", "attachment")
        yield answer
        token = _next_page(answer) if isinstance(answer, Answer) else ""
        if not token:
            return


def _next_page(answer: Answer) -> str:
    return str(as_object(answer.json()).get("nextPageToken") or "")


def place(ticket: Ticket) -> tuple[int, int]:
    """Where a ticket stands in the order of changes: ids are numbers that grow."""
    return ticket.updated_at, int(ticket.external_id) if ticket.external_id.isdigit() else 0


def _start(cursor: Cursor) -> tuple[int, int]:
    return cursor.updated_at, int(cursor.external_id) if cursor.external_id.isdigit() else -1


def _after(tickets: list[Ticket], since: Cursor, began: int) -> Cursor:
    return Cursor(tickets[-1].updated_at, tickets[-1].external_id, began) if tickets else since


def _notes(ticket: Ticket, issue: Mapping[str, Any], began: int) -> list[Note]:
    comments = as_object(as_object(issue.get("fields")).get("comment")).get("comments")
    found = [note_of(ticket.external_id, as_object(one)) for one in comments] if isinstance(comments, list) else []
    return [one for one in found if one.at >= began]


async def _search(site: Site, jql: str, limit: int, token: str = "", *more: str) -> Answer | Failure:
    document = {"jql": jql, "maxResults": limit, "fields": [*asked(site.config), *more]}
    return not_gone(await site.call("POST", "/search/jql", document | ({"nextPageToken": token} if token else {})))


def _issues(answer: Answer) -> list[dict[str, Any]]:
    found = as_object(answer.json()).get("issues")
    return [as_object(one) for one in found] if isinstance(found, list) else []


def quoted(text: str) -> str:
    """A text inside quotation marks of JQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
