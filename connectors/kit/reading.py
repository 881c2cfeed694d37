"""One round of reading what changed at a ticket system, page by page, into the intake.

A page is on the intake before the cursor moves past it, and each round goes back by an overlap, since a change may
become visible after a later one (search indexes, transactions, clocks of one second). What is read twice has the same
delivery id, so the intake takes it once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from connectors.kit.contract import Integration, Message
from connectors.kit.http import ProviderHttp
from connectors.kit.ticket_messages import deleted_message, files_message, note_message, ticket_message
from connectors.kit.tickets import Cursor, Failure, Page, Tickets

_REMEMBERED = 20_000


class Sent:
    """The ids of what this process has put on the intake, so that the overlap is not sent in every round."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._ids: OrderedDict[str, None] = OrderedDict()

    def new(self, messages: Iterable[Message]) -> list[Message]:
        """Those that were not sent yet."""
        return [message for message in messages if message[0].id not in self._ids]

    def remember(self, messages: Iterable[Message]) -> None:
        """Kafka has them."""
        self._ids.update((envelope.id, None) for envelope, _ in messages)
        while len(self._ids) > self._limit:
            self._ids.popitem(last=False)


def start(cursor: Cursor, overlap_ms: int) -> Cursor:
    """Where a round begins: before the place that was reached; one that was cut off keeps its beginning."""
    if not cursor.updated_at:
        return Cursor()
    back = max(1, cursor.updated_at - overlap_ms)
    return Cursor(back, "", min(cursor.began, back) if cursor.began else back)


async def pages(
    tickets: Tickets, http: ProviderHttp, integration: Integration, begin: Cursor, limit: int
) -> AsyncIterator[Page | Failure]:
    """The pages from a cursor on, at the connector's pace; the last is marked so, or is a failure."""
    cursor = begin
    while True:
        page = await tickets.list_changed(http, integration, cursor, limit)
        yield page
        if not isinstance(page, Page) or page.is_last:
            return
        cursor = page.cursor
        await asyncio.sleep(1 / tickets.rate_per_s)


def messages_of(integration: Integration, page: Page) -> list[Message]:
    """What a page tells the intake."""
    return [
        *(ticket_message(integration, ticket, "poll") for ticket in page.tickets),
        *(note_message(integration, note) for note in page.notes),
        *(files_message(integration, seen, "poll") for seen in page.files),
        *(deleted_message(integration, external_id, "poll") for external_id in page.deleted),
    ]


def reached(page: Page) -> Cursor:
    """What to remember after a page: a round that is over has no beginning any more."""
    return replace(page.cursor, began=0) if page.is_last else page.cursor
