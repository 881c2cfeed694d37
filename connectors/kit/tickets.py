"""What a ticket system's connector has to do (ADR 0007): single calls; ``ticket_attempt`` makes the safe ways of them.

No method raises for what the provider or the network does: each returns a failure of ``outcome``. None keeps anything
between calls, and each makes as few requests as it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from connectors.kit.contract import Integration
from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as read: see ``streams.domain.tickets.TicketObserved`` for the attributes of the same names.

    ``external_id`` never changes in the ticket's life (ServiceNow ``sys_id``, Jira issue ``id``); ``external_key`` is
    what people call it (INC0010001, OPS-7).
    """

    external_id: str
    external_key: str
    url: str
    marker: str
    version: int
    updated_at: int
    updated_by: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One change in a ticket's history: ``ours`` where the account of the integration made it."""

    version: int
    field: str
    before: str
    after: str
    ours: bool


@dataclass(frozen=True, slots=True)
class Note:
    """A comment on a ticket: ``note_id`` is the provider's, the same by webhook and by poll; ``at`` in milliseconds."""

    external_id: str
    note_id: str
    author: str
    text: str
    at: int
    kind: str = "comment"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the list of changed tickets was read: keyset by (``updated_at``, ``external_id``); empty: from now.

    ``began`` is where this round of reading began: notes are read from there, since one that is older than the last
    change of its ticket would otherwise be missed on a later page.
    """

    updated_at: int = 0
    external_id: str = ""
    began: int = 0


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """That a ticket has these files (``complete``: no others), at a time of the provider in milliseconds (0: unknown).

    The time tells a state that came again from one that is told again.
    """

    external_id: str
    file_ids: tuple[str, ...]
    complete: bool
    at: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Changed tickets in ascending order, and where to go on; ``is_last``: there is nothing more at this moment.

    ``notes`` are those of these tickets written since the round began; ``deleted`` are ids, of other tickets too, and
    so may be the tickets of ``files``.
    """

    tickets: Sequence[Ticket]
    cursor: Cursor
    is_last: bool
    deleted: Sequence[str] = ()
    notes: Sequence[Note] = ()
    files: Sequence[FilesSeen] = ()


Failure = TransientFailure | PermanentFailure
Versioning = Literal["counter", "clock"]
"""``counter``: each write raises the version by exactly one and a write that changes nothing leaves it (ServiceNow);
``clock``: the version is the time of the last change, and ``history`` tells what happened since (Jira)."""


@runtime_checkable
class HasLinks(Protocol):
    """A ticket system whose tickets have links of their own; elsewhere a link is a comment."""

    async def refer(
        self, http: ProviderHttp, integration: Integration, external_id: str, link_id: str, url: str, title: str
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Put a link on a ticket under an id of ours; the same id again replaces it."""


class Tickets(Protocol):
    """The calls of a ticket system."""

    versioning: Versioning
    rate_per_s: float
    """How many calls a second one integration may make."""

    async def create(
        self, http: ProviderHttp, integration: Integration, marker: str, fields: Mapping[str, str]
    ) -> Ticket | Failure:
        """Make a ticket with the marker on it from the first moment, and read it back."""

    async def find(self, http: ProviderHttp, integration: Integration, marker: str) -> Sequence[Ticket] | Failure:
        """The tickets with the marker, oldest first; where search lags behind writes, by what does not lag."""

    async def read(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """The ticket now. ``Gone`` where the provider says that there is none or that we may not see it."""

    async def write(
        self, http: ProviderHttp, integration: Integration, external_id: str, changes: Mapping[str, str]
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """Set fields (a change of state where that takes a transition) and read the ticket back."""

    async def mark(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """Put a marker on a ticket (empty: take ours off) and read it back."""

    async def history(
        self, http: ProviderHttp, integration: Integration, external_id: str, since: int
    ) -> Sequence[FieldChange] | Gone | TransientFailure | PermanentFailure:
        """The changes after a version, oldest first; a provider with a ``counter`` may return none."""

    async def comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str, *, public: bool
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Add a work note, or a public comment; its id, empty where the provider gives none."""

    async def find_comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Found | NotFound | Unknown:
        """Whether a comment whose text contains the marker is there."""

    async def retire(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """Cancel a duplicate with a note that says why, and take our marker off it; doing it again does no harm."""

    async def list_changed(
        self, http: ProviderHttp, integration: Integration, cursor: Cursor, limit: int
    ) -> Page | Failure:
        """Tickets with a marker of ours that changed since, a page of at most ``limit``; see ``Cursor``.

        The caller goes back by an overlap before each round, so that what became visible late is not missed; what
        comes twice has the same delivery id.
        """
