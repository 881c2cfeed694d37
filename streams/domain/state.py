"""A tenant's state: tables of immutable items, with a journal that can take a message back.

An item is what the state topic stores under one key. Everything else (indexes, the order of expiry) is derived from the
items and rebuilt when they are loaded.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streams.domain.attachments import Attached
from streams.domain.correlation import DAY_MS, Window
from streams.domain.events import AlertRef
from streams.domain.incident import Incident
from streams.domain.lifecycle import Timers
from streams.domain.mapping import TicketMapping
from streams.domain.rules import DEFAULT, Holds, RuleSet, no_conditions
from streams.domain.tables import Journal, Table
from streams.domain.ticket_files import TicketFiles
from streams.domain.ticket_link import TicketIndex, TicketLink

SEEN_FOR_MS = 3 * DAY_MS
"""How long a delivery id is remembered: longer than the 48 h for which PagerDuty retries."""

FAMILY_LATENESS_MS = DAY_MS // 24
"""How long after a family's window a late signal of a related service is still linked."""

UNKNOWN_FOR_MS = 2 * DAY_MS
"""How long after its event time a resolve waits for the alert that it is about."""

OUTCOMES_FOR_MS = DAY_MS
"""How long a command's outcome is kept and answered again (R4)."""


class Head(NamedTuple):
    """Counters of a tenant; ``clock`` is its recorded time at the end of the last batch, which never goes back.

    ``stream_sequence`` and ``stream_hash`` are those of the tenant's own stream (events outside any incident). ``salt``
    keys the salts of data digests. ``poison`` counts undecidable messages since ``poison_since``.
    """

    clock: int = 0
    next_number: int = 1
    tenantsequence: int = 0
    stream_sequence: int = 0
    stream_hash: str = ""
    salt: str = ""
    poison: int = 0
    poison_since: int = 0
    parked: bool = False


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which events go to which connector: pairs of event type and action."""

    subscription_id: str
    connector: str
    integration_id: str
    actions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Preferences:
    """A tenant's preferences."""

    auto_resolve: bool = False
    close_after_ms: int = 3 * DAY_MS
    archive_after_ms: int = 7 * DAY_MS

    @property
    def timers(self) -> Timers:
        """What the lifecycle needs of them."""
        return Timers(self.close_after_ms, self.archive_after_ms)


class AlertState(NamedTuple):
    """What is known of an alert: the incident that holds it (empty: none yet) and its newest state by event time."""

    incident_id: str
    resolved: bool
    event_time: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command: ``reason`` is empty when it was accepted. ``content`` is a digest of what it asked."""

    content: str
    at: int
    incident_id: str = ""
    reason: str = ""
    detail: str = ""
    number: int = 0
    status: str = ""
    revision: int = 0
    sequence: int = 0
    tenantsequence: int = 0


@dataclass(frozen=True, slots=True)
class SeenIds:
    """Digests of the delivery ids of one batch, each of ``IDENTITY_BYTES`` bytes, one after the other."""

    at: int
    digests: bytes


class Flap(NamedTuple):
    """The latest changes of an alert between firing and resolved, under a rule that looks for flapping.

    ``changes`` are recorded times, at most one more than the rule takes for real. ``due`` is when an alert that is
    flapping is looked at again (0: it is not flapping); ``resolved`` and ``last`` are what its provider said last,
    whatever the incident was told.
    """

    rule: str
    changes: tuple[int, ...]
    window_ms: int
    due: int
    resolved: bool
    last: AlertRef


_NEW, _DEFAULTS = Head(), Preferences()

KINDS = (
    "head",
    "incident",
    "alert",
    "window",
    "outcome",
    "seen",
    "subscription",
    "rule_set",
    "preferences",
    "mapping",
    "ticket",
    "flap",
    "activity",
    "attached",
    "ticket_files",
)
"""Item kinds, as they stand in the keys of the state topic."""

ONLY = "-"
"""The key of kinds of which a tenant has one item."""

SHADOW, PREVIOUS = "shadow", "previous"
"""The keys of the rule sets that do not decide: the draft, and the one that decided before."""


@dataclass(slots=True)
class TenantState:
    """Everything that decisions about a tenant depend on.

    ``head``, ``rule_set`` (what correlation goes by) and ``preferences`` are the items of their tables, or the defaults
    where there are none: attributes, because every decision asks for them several times.
    """

    tenant: str
    journal: Journal
    holds: Holds = no_conditions
    heads: Table[Head] = field(init=False)
    incidents: Table[Incident] = field(init=False)
    alerts: Table[AlertState] = field(init=False)
    windows: Table[tuple[Window, ...]] = field(init=False)
    outcomes: Table[Outcome] = field(init=False)
    seen: Table[SeenIds] = field(init=False)
    subscriptions: Table[Subscription] = field(init=False)
    own_rules: Table[RuleSet] = field(init=False)
    preference: Table[Preferences] = field(init=False)
    mappings: Table[TicketMapping] = field(init=False)
    tickets: Table[TicketLink] = field(init=False)
    ticket_index: TicketIndex = field(init=False, default_factory=TicketIndex)
    flaps: Table[Flap] = field(init=False)
    activity: Table[tuple[Window, ...]] = field(init=False)
    attached: Table[Attached] = field(init=False)
    ticket_files: Table[TicketFiles] = field(init=False)
    alerts_of: dict[str, set[str]] = field(init=False, default_factory=dict)
    known: dict[bytes, None] = field(init=False, default_factory=dict)
    fresh: list[bytes] = field(init=False, default_factory=list)
    expiry: list[tuple[int, str, str]] = field(init=False, default_factory=list)
    clock: int = field(init=False, default=0)
    head: Head = field(init=False, default=_NEW)
    rule_set: RuleSet = field(init=False, default=DEFAULT)
    detects_flapping: bool = field(init=False, default=DEFAULT.detects_flapping)
    preferences: Preferences = field(init=False, default=_DEFAULTS)

    def __post_init__(self) -> None:
        """Make the tables and tie the derived indexes to them."""
        self.heads = Table(self.tenant, "head", self.journal, self._take_head)
        self.incidents = Table(self.tenant, "incident", self.journal)
        self.alerts = Table(self.tenant, "alert", self.journal, self._index_alert)
        self.windows = Table(self.tenant, "window", self.journal, self._expire_window)
        self.outcomes = Table(self.tenant, "outcome", self.journal, self._expire_outcome)
        self.seen = Table(self.tenant, "seen", self.journal, self._index_seen)
        self.subscriptions = Table(self.tenant, "subscription", self.journal)
        self.own_rules = Table(self.tenant, "rule_set", self.journal, self._take_rules)
        self.preference = Table(self.tenant, "preferences", self.journal, self._take_preferences)
        self.mappings = Table(self.tenant, "mapping", self.journal)
        self.tickets = Table(self.tenant, "ticket", self.journal, self.ticket_index.note)
        self.flaps = Table(self.tenant, "flap", self.journal, self._expire_flap)
        self.activity = Table(self.tenant, "activity", self.journal, self._expire_activity)
        self.attached = Table(self.tenant, "attached", self.journal)
        self.ticket_files = Table(self.tenant, "ticket_files", self.journal)

    def table(self, kind: str) -> Table[Any]:
        """The table of a kind of ``KINDS``."""
        tables: dict[str, Table[Any]] = {
            "head": self.heads,
            "incident": self.incidents,
            "alert": self.alerts,
            "window": self.windows,
            "outcome": self.outcomes,
            "seen": self.seen,
            "subscription": self.subscriptions,
            "rule_set": self.own_rules,
            "preferences": self.preference,
            "mapping": self.mappings,
            "ticket": self.tickets,
            "flap": self.flaps,
            "activity": self.activity,
            "attached": self.attached,
            "ticket_files": self.ticket_files,
        }
        return tables[kind]

    def set_head(self, **changes: Any) -> Head:
        """Replace some of the counters."""
        head = self.head._replace(**changes)
        self.heads.put(ONLY, head)
        return head

    def holder(self, incident_id: str) -> Incident | None:
        """The incident that now holds what ``incident_id`` held: itself, or the one that it was merged into."""
        incident = self.incidents.get(incident_id)
        while incident is not None and incident.merged_into:
            incident = self.incidents.get(incident.merged_into)
        return incident if incident is not None and not incident.archived_at else None

    def remember(self, digest: bytes) -> None:
        """Note a delivery id; ``keep_seen`` makes an item of all that a batch noted."""
        self.journal.undo.append((self._forget, digest, None))
        self.known[digest] = None
        self.fresh.append(digest)

    def keep_seen(self, key: str) -> None:
        """Make an item of the delivery ids noted since the last call, under the batch's key."""
        if self.fresh:
            self.seen.put(key, SeenIds(self.clock, b"".join(self.fresh)))
            self.fresh.clear()

    def _forget(self, digest: bytes, _: None) -> None:
        self.known.pop(digest, None)
        self.fresh.pop()

    def _take_head(self, _: str, __: Head | None, new: Head | None) -> None:
        self.head = new or _NEW
        self.clock = max(self.clock, self.head.clock)

    def _take_rules(self, key: str, _: RuleSet | None, new: RuleSet | None) -> None:
        if key == ONLY:
            self.rule_set = new or DEFAULT
            self.detects_flapping = self.rule_set.detects_flapping

    def _take_preferences(self, _: str, __: Preferences | None, new: Preferences | None) -> None:
        self.preferences = new or _DEFAULTS

    def advance(self, to: int) -> int:
        """Move recorded time on, never back, and forget what it has passed; the time it is then.

        The head takes the clock when a batch is sealed: a message that is rolled back has been seen all the same.
        """
        if to > self.clock:
            self.clock = to
            self.expire(to)
        return self.clock

    def _index_alert(self, key: str, old: AlertState | None, new: AlertState | None) -> None:
        if old is not None and (new is None or new.incident_id != old.incident_id):
            self.alerts_of.get(old.incident_id, set()).discard(key)
        if new is not None:
            held = self.alerts_of.get(new.incident_id)
            if held is None:
                held = self.alerts_of[new.incident_id] = set()
            held.add(key)
            if not new.incident_id:
                heapq.heappush(self.expiry, (new.event_time + UNKNOWN_FOR_MS, "alert", key))

    def _index_seen(self, key: str, old: SeenIds | None, new: SeenIds | None) -> None:
        for bucket, is_new in ((old, False), (new, True)):
            for digest in digests_of(bucket) if bucket else ():
                if is_new:
                    self.known[digest] = None
                else:
                    self.known.pop(digest, None)
        if new is not None:
            heapq.heappush(self.expiry, (new.at + SEEN_FOR_MS, "seen", key))

    def _expire_window(self, key: str, old: tuple[Window, ...] | None, new: tuple[Window, ...] | None) -> None:
        if new is not None and old is None:
            heapq.heappush(self.expiry, (self.window_expiry(new), "window", key))

    def _expire_outcome(self, key: str, old: Outcome | None, new: Outcome | None) -> None:
        if new is not None and old is None:
            heapq.heappush(self.expiry, (new.at + OUTCOMES_FOR_MS, "outcome", key))

    def _expire_flap(self, key: str, old: Flap | None, new: Flap | None) -> None:
        if new is not None and old is None:
            heapq.heappush(self.expiry, (_flap_expiry(new), "flap", key))

    def _expire_activity(self, key: str, old: tuple[Window, ...] | None, new: tuple[Window, ...] | None) -> None:
        if new is not None and old is None:
            heapq.heappush(self.expiry, (self._activity_expiry(new), "activity", key))

    def _activity_expiry(self, windows: tuple[Window, ...]) -> int:
        return max(window.touched for window in windows) + self.rule_set.family_window_ms + FAMILY_LATENESS_MS

    def window_expiry(self, windows: tuple[Window, ...]) -> int:
        """The recorded time after which the last of a key's windows can be forgotten."""
        return max(window.touched for window in windows) + self.rule_set.longest_reach_ms

    def expire(self, now: int) -> None:
        """Forget what recorded time has passed: delivery ids, outcomes, windows, resolves whose alert never came."""
        while self.expiry and self.expiry[0][0] < now:
            _, kind, key = heapq.heappop(self.expiry)
            due = self._moved_expiry(kind, key)
            if due >= now:
                heapq.heappush(self.expiry, (due, kind, key))
            elif kind != "alert" or self._is_unknown(key):
                self.table(kind).drop(key)

    def _moved_expiry(self, kind: str, key: str) -> int:
        """When an item that may have been used again meanwhile can be forgotten; 0 for what is never used again."""
        match kind:
            case "window" if windows := self.windows.get(key):
                return self.window_expiry(windows)
            case "activity" if windows := self.activity.get(key):
                return self._activity_expiry(windows)
            case "flap" if flap := self.flaps.get(key):
                return _flap_expiry(flap)
            case _:
                return 0

    def _is_unknown(self, alert_key: str) -> bool:
        """Whether no incident has come to hold the alert meanwhile."""
        alert = self.alerts.get(alert_key)
        return alert is not None and not alert.incident_id


def _flap_expiry(flap: Flap) -> int:
    """One that is flapping stays until it was looked at, however late that is."""
    return flap.due + UNKNOWN_FOR_MS if flap.due else flap.changes[-1] + flap.window_ms


IDENTITY_BYTES = 12
"""Length of a delivery id's digest: with 10^9 ids the chance that any two are taken for one is below 10^-10."""


def digests_of(bucket: SeenIds) -> Iterator[bytes]:
    """The digests that a bucket holds."""
    for start in range(0, len(bucket.digests), IDENTITY_BYTES):
        yield bucket.digests[start : start + IDENTITY_BYTES]
