"""What happened (past tense): the data of every event in the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from streams.domain.attachment_events import AttachmentEvent
from streams.domain.records import dataclass
from streams.domain.signals import ProviderIngested
from streams.domain.ticket_events import TicketEvent


@dataclass(frozen=True, slots=True)
class Declared:
    """An incident began.

    ``relation`` says how it belongs to ``related_to``: ``continuation`` (growth limit), ``recurrence`` (the former
    one was no longer open) or ``split`` (its first alerts were taken out of that one). ``rule``, ``rule_version`` and
    ``correlation_key`` explain the grouping; they are empty for one declared by a person.
    """

    number: int
    title: str
    severity: str
    status: str
    service: str = ""
    description: str = ""
    rule: str = ""
    rule_version: int = 0
    correlation_key: str = ""
    related_to: str = ""
    relation: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """One attached signal, with why it is here (``correlation_rule``, its version, and the key)."""

    source: str
    id: str
    alert_key: str
    title: str
    event_time: int
    recorded_time: int
    fingerprint: str = ""
    severity: str = ""
    service: str = ""
    host: str = ""
    error_type: str = ""
    rule: str = ""
    kind: str = "alert"
    connector: str = ""
    integration_id: str = ""
    external_id: str = ""
    correlation_rule: str = ""
    correlation_version: int = 0
    correlation_key: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertRef:
    """A signal about an alert that the incident already holds."""

    source: str
    id: str
    alert_key: str
    event_time: int
    recorded_time: int
    fingerprint: str = ""
    title: str = ""
    connector: str = ""
    integration_id: str = ""


@dataclass(frozen=True, slots=True)
class AlertsAttached:
    """Signals joined the incident (adjacent ones in one event)."""

    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class AlertsRepeated:
    """Alerts of the incident fired again."""

    alerts: tuple[AlertRef, ...]


@dataclass(frozen=True, slots=True)
class AlertsResolved:
    """Alerts of the incident are over."""

    alerts: tuple[AlertRef, ...]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody is on it."""

    actor: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class StateChange:
    """A step of the lifecycle other than resolving and closing."""

    previous: str
    to: str
    actor: str
    reason: str = ""
    via: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The incident was resolved; ``due`` is when it is closed by itself (milliseconds, 0: never)."""

    previous: str
    actor: str
    reason: str = ""
    via: str = ""
    due: int = 0


@dataclass(frozen=True, slots=True)
class Closed:
    """The incident reached an end (``to``: closed or canceled); ``due`` is when it is archived (0: never)."""

    previous: str
    to: str
    actor: str
    reason: str = ""
    via: str = ""
    due: int = 0


@dataclass(frozen=True, slots=True)
class Assigned:
    """Somebody became responsible (an empty assignee: nobody)."""

    assignee: str
    previous: str
    actor: str


@dataclass(frozen=True, slots=True)
class SeverityChanged:
    """The severity was set."""

    severity: str
    previous: str
    actor: str


@dataclass(frozen=True, slots=True)
class FieldChanged:
    """One of title, service and description was edited."""

    field: str
    value: str
    previous: str
    actor: str


@dataclass(frozen=True, slots=True)
class NoteAdded:
    """A note."""

    text: str
    actor: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class External:
    """A provider's object that belongs to the incident and that side effects act on."""

    connector: str
    integration_id: str
    external_id: str


@dataclass(frozen=True, slots=True)
class Merged:
    """Two incidents became one: recorded on both, ``role`` says which side this is (``source`` was folded in).

    The counts and, on the target, the external objects are those of the source at that moment; ``due`` is when the
    source is archived (0: never).
    """

    role: Literal["source", "target"]
    other: str
    actor: str
    alert_count: int = 0
    repeat_count: int = 0
    firing_count: int = 0
    due: int = 0
    externals: tuple[External, ...] = ()
    reason: str = ""
    by_rules: str = ""


@dataclass(frozen=True, slots=True)
class SplitAlert:
    """An alert that was taken out of an incident: ``count`` of its signals had been attached, between two times."""

    alert_key: str
    count: int
    first: int
    last: int
    title: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Alerts went from one incident to another: recorded on both, ``role`` says which side this is.

    ``firing_count`` counts those of them that fire. ``externals`` are the providers' objects that went with them.
    """

    role: Literal["source", "target"]
    other: str
    alerts: tuple[SplitAlert, ...]
    actor: str
    firing_count: int = 0
    externals: tuple[External, ...] = ()
    reason: str = ""
    by_rules: str = ""


FlappingState = Literal["started", "continued", "ended"]


@dataclass(frozen=True, slots=True)
class Flapping:
    """An alert of the incident changed between firing and resolved more often than its rule takes for real.

    ``changes`` counts those of the last ``window_ms``, ``stops`` says what the alert no longer causes. ``due`` is when
    it is looked at again (0: it is over).
    """

    state: FlappingState
    alerts: tuple[AlertRef, ...]
    rule: str
    changes: int
    window_ms: int
    stops: tuple[str, ...] = ()
    due: int = 0
    actor: str = "system:correlation"


@dataclass(frozen=True, slots=True)
class Linked:
    """Two incidents are of one family: recorded on both, ``role`` says what this one is to the other.

    ``path`` are the services from the effect's to the cause's, each depending on the next; ``apart_ms`` is how far
    apart their signals were when this was noticed.
    """

    role: Literal["cause", "effect"]
    other: str
    service: str
    other_service: str
    path: tuple[str, ...]
    apart_ms: int = 0
    rule_set: str = ""
    actor: str = "system:correlation"


@dataclass(frozen=True, slots=True)
class EffectDelivered:
    """A side effect took place at the provider."""

    intent_id: str
    connector: str
    integration_id: str
    action: str
    attempts: int = 1
    external_ref: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """A side effect was given up (``expired``: not sent because it would have been too late)."""

    intent_id: str
    connector: str
    integration_id: str
    action: str
    attempts: int = 1
    expired: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Archived:
    """The incident left the orchestrator's memory; its record stays."""

    actor: str


@dataclass(frozen=True, slots=True)
class IntakeRefused:
    """A message was not taken (R9); ``disposition`` says whether its bytes are in the dead-letter topic."""

    source: str
    id: str
    type: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    disposition: Literal["refused", "dead_lettered"] = "dead_lettered"
    connector: str = ""
    integration_id: str = ""


@dataclass(frozen=True, slots=True)
class Configured:
    """The tenant's configuration changed (``what``: subscription, rule or preferences; ``name``: which one)."""

    what: str
    name: str
    actor: str
    content: Mapping[str, str] = field(default_factory=dict)


IncidentEvent = (
    Declared
    | AlertsAttached
    | AlertsRepeated
    | AlertsResolved
    | Acknowledged
    | StateChange
    | Resolved
    | Closed
    | Assigned
    | SeverityChanged
    | FieldChanged
    | NoteAdded
    | Merged
    | Split
    | Flapping
    | Linked
    | EffectDelivered
    | EffectFailed
    | Archived
    | TicketEvent
    | AttachmentEvent
)
"""What happens to an incident."""

TenantEvent = IntakeRefused | ProviderIngested | Configured
"""What happens to a tenant outside any incident; it forms a stream of its own."""

Event = IncidentEvent | TenantEvent
