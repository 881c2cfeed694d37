"""Tickets of other systems as messages: what was seen of one, and what became of an intent about one (ADR 0007).

Values are the provider's raw ones as text (ServiceNow: ``sysparm_display_value=false``; Jira: ids, or names where the
mapping speaks of names), keyed by the external field. A field that is absent was not shown (not asked for, or hidden
by an access rule), which says nothing about its value; an empty text is an empty field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

TICKET_OBSERVED: Final = "com.incidents.ticket.observed.v1"

TicketAction = Literal[
    "ticket_create", "ticket_link", "ticket_read", "ticket_update", "ticket_comment", "ticket_retire", "ticket_refer"
]
"""What an intent asks of a provider:

- ``ticket_create``: make the incident's one ticket with ``changes``, under ``marker``;
- ``ticket_link``: put ``marker`` on the ticket ``external_id``, which somebody made, unless another one is on it;
- ``ticket_read``: say what the ticket is now;
- ``ticket_update``: bring the ticket from ``expected`` to ``changes`` (read, compare, write, verify);
- ``ticket_comment``: add ``text``, once, found again by ``marker``;
- ``ticket_refer``: put a link of the incident on the ticket (``changes``: ``link_id``, ``url``, ``title``), or
  ``text`` as a comment where tickets have no links;
- ``ticket_retire``: the ticket is a duplicate: note ``text`` on it, cancel it, take our marker off it.
"""

TICKET_ACTIONS: Final = frozenset(
    {"ticket_create", "ticket_link", "ticket_read", "ticket_update", "ticket_comment", "ticket_retire", "ticket_refer"}
)

Origin = Literal["webhook", "poll"]


@dataclass(frozen=True, slots=True)
class TicketObserved:
    """A ticket as its provider showed it (``com.incidents.ticket.observed.v1``); the envelope identifies the delivery.

    ``version`` orders what is seen of one ticket: a count of its changes (ServiceNow ``sys_mod_count``) or the time of
    the last one in milliseconds (Jira ``updated``); 0 where the provider did not say, which is only ever a reason to
    read the ticket. ``updated_at`` is the provider's clock in milliseconds, ``updated_by`` who changed it last.
    ``marker`` is what ``ticket_create`` or ``ticket_link`` put on it, empty where it has none. ``deleted``: the
    provider says that it is gone; ``fields`` is empty then. ``raw`` is a webhook's body as received, ``raw_ref`` its
    object storage key where it is too large to carry.
    """

    connector: str
    integration_id: str
    external_id: str
    origin: Origin = "webhook"
    external_key: str = ""
    url: str = ""
    marker: str = ""
    version: int = 0
    updated_at: int = 0
    updated_by: str = ""
    deleted: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""
    raw_ref: str = ""


TicketStatus = Literal["done", "stale", "failed", "gone"]
"""What became of a ticket intent: ``stale``: nothing was written, because a field was no longer as expected;
``gone``: the ticket is deleted or hidden from us; ``failed``: given up."""


@dataclass(frozen=True, slots=True)
class RecordTicket:
    """What became of a ticket intent, from the dispatcher (``com.incidents.command.record_ticket.v1``).

    ``external_id`` to ``fields`` are the ticket as read after the write (``done``) or instead of it (``stale``).
    ``written`` are the external fields that this write changed: none where the ticket already was as asked.
    ``overwritten`` holds values of others that the write replaced after they had not been there when it compared, as
    far as the provider tells; ``raced`` says that somebody else wrote between reading and verifying. ``duplicates``
    are further tickets with the same marker.
    """

    incident_id: str
    intent_id: str
    connector: str
    integration_id: str
    action: str
    status: TicketStatus
    attempts: int = 1
    external_id: str = ""
    external_key: str = ""
    url: str = ""
    version: int = 0
    updated_at: int = 0
    updated_by: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    overwritten: Mapping[str, str] = field(default_factory=dict)
    raced: bool = False
    duplicates: tuple[str, ...] = ()
    detail: str = ""
    actor: str = "system:dispatcher"


@dataclass(frozen=True, slots=True)
class TicketRequest:
    """What a ticket intent carries in its payload, which is text by text: ``payload`` and ``request_of`` convert.

    ``marker`` is the incident's on its ticket, the same for each action but ``ticket_comment`` and ``ticket_refer``,
    where it is the comment's or link's own. ``changes`` and ``expected`` are raw values by external field; ``expected``
    names each field of ``changes``. ``version`` is the newest that the decider had seen (0: none). ``public``: a
    comment that the requester of the ticket may read; work notes and internal comments are the rule.
    """

    marker: str
    changes: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    version: int = 0
    text: str = ""
    public: bool = False

    def payload(self) -> dict[str, str]:
        """The request as the payload of an ``Intent``."""
        found = {
            "marker": self.marker,
            "changes": json.dumps(dict(self.changes), sort_keys=True),
            "expected": json.dumps(dict(self.expected), sort_keys=True),
            "version": str(self.version),
            "text": self.text,
            "public": "true" if self.public else "",
        }
        return {name: value for name, value in found.items() if value not in {"", "{}", "0"}}


def request_of(payload: Mapping[str, str]) -> TicketRequest:
    """The request in an intent's payload; raises ``ValueError`` for one that ``payload`` did not write."""
    return TicketRequest(
        marker=payload.get("marker", ""),
        changes=_texts(payload.get("changes", "{}")),
        expected=_texts(payload.get("expected", "{}")),
        version=int(payload.get("version", "0")),
        text=payload.get("text", ""),
        public=payload.get("public", "") == "true",
    )


def _texts(document: str) -> dict[str, str]:
    found = json.loads(document)
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"not an object of texts: {document[:100]}")
    return found
