"""What people, timers and the dispatcher ask for (imperative); ``actor`` is who asks, e.g. ``user:ada``.

``expected_revision`` is the ``If-Match`` of HTTP: 0 means whatever the revision is. ``via`` is the integration through
which it came, so that no effect goes back to where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from streams.domain.attachment_commands import AttachmentCommand
from streams.domain.correlation import Rule
from streams.domain.events import External, SplitAlert
from streams.domain.rules import Dependency, SeverityRule, Silence
from streams.domain.ticket_commands import SetMapping, TicketCommand
from streams.domain.ticket_files import RecordFiles
from streams.domain.tickets import RecordTicket


@dataclass(frozen=True, slots=True)
class Declare:
    """Open an incident by hand; ``draft`` keeps it out of the way until it is opened."""

    title: str
    actor: str
    severity: str = "SEV-3"
    service: str = ""
    description: str = ""
    draft: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Say that somebody is on it."""

    incident_id: str
    actor: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class ChangeState:
    """Move along the lifecycle."""

    incident_id: str
    to: str
    actor: str
    reason: str = ""
    expected_revision: int = 0
    via: str = ""


@dataclass(frozen=True, slots=True)
class Assign:
    """Name the responsible person; an empty assignee takes the assignment back."""

    incident_id: str
    assignee: str
    actor: str
    expected_revision: int = 0


@dataclass(frozen=True, slots=True)
class SetSeverity:
    """Change the severity (one of ``signals.SEVERITIES``)."""

    incident_id: str
    severity: str
    actor: str
    expected_revision: int = 0


@dataclass(frozen=True, slots=True)
class ChangeFields:
    """Edit ``title``, ``service`` or ``description``."""

    incident_id: str
    fields: Mapping[str, str]
    actor: str
    expected_revision: int = 0


@dataclass(frozen=True, slots=True)
class AddNote:
    """Put a note on the timeline."""

    incident_id: str
    text: str
    actor: str
    via: str = ""


@dataclass(frozen=True, slots=True)
class Merge:
    """Fold ``incident_id`` into ``into``.

    ``by_rules`` (name and version) says that it applies a rule set to what was: it must be the one that decides, and
    nobody is told. ``reason`` is for people.
    """

    incident_id: str
    into: str
    actor: str
    expected_revision: int = 0
    reason: str = ""
    by_rules: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Take alerts out of ``incident_id``: ``into`` another incident, or (empty) into a new one.

    The new one has this ``title``, ``severity`` and ``service``, and the ``rule`` and ``correlation_key`` that put its
    alerts together. ``externals`` are the objects of providers that go with the alerts. ``reason`` and ``by_rules`` are
    as in ``Merge``.
    """

    incident_id: str
    alerts: tuple[SplitAlert, ...]
    actor: str
    into: str = ""
    title: str = ""
    severity: str = "SEV-3"
    service: str = ""
    rule: str = ""
    rule_version: int = 0
    correlation_key: str = ""
    externals: tuple[External, ...] = ()
    reason: str = ""
    by_rules: str = ""


TimerKind = Literal["close", "archive", "settle"]
"""``settle`` is for the flapping alerts of an incident: its ``cause_id`` is not looked at, their due times are."""


@dataclass(frozen=True, slots=True)
class FireTimer:
    """A due time of the record has come (R8); it counts only while what it is for is as it was (``cause_id``)."""

    incident_id: str
    timer: TimerKind
    due: int
    cause_id: str
    actor: str = "system:scheduler"


EffectStatus = Literal["delivered", "failed", "expired"]


@dataclass(frozen=True, slots=True)
class RecordEffect:
    """What became of an intent (from the dispatcher)."""

    incident_id: str
    intent_id: str
    connector: str
    integration_id: str
    action: str
    status: EffectStatus
    attempts: int = 1
    external_ref: str = ""
    detail: str = ""
    actor: str = "system:dispatcher"


@dataclass(frozen=True, slots=True)
class SetSubscription:
    """Send events to a connector (``com.incidents.config.subscription.v1``).

    ``actions`` maps event types to the connector's actions, e.g. ``com.incidents.acknowledged.v1`` to ``acknowledge``.
    An inactive one takes the subscription away.
    """

    subscription_id: str
    connector: str
    integration_id: str
    actions: Mapping[str, str]
    actor: str
    active: bool = True


Stage = Literal["active", "shadow"]


@dataclass(frozen=True, slots=True)
class SetRuleSet:
    """Go by another rule set from now on (``com.incidents.config.rule_set.v1``): see ``rules.RuleSet``.

    At the stage ``shadow`` it decides nothing: it is the draft that is tried on live traffic and may be promoted.
    """

    name: str
    version: int
    rules: tuple[Rule, ...]
    actor: str
    severities: tuple[SeverityRule, ...] = ()
    silences: tuple[Silence, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    family_window_ms: int = 0
    family_depth: int = 2
    stage: Stage = "active"


RuleSetChange = Literal["promote", "roll_back", "withdraw"]


@dataclass(frozen=True, slots=True)
class ChangeRuleSet:
    """Let the draft decide, go back to the rule set before, or take the draft away.

    ``name`` and ``version`` are those of the draft, or of the rule set that decides and is to be taken back: a change
    that somebody else made meanwhile is not undone by accident.
    """

    change: RuleSetChange
    name: str
    version: int
    actor: str


ApplicationStage = Literal["started", "finished"]


@dataclass(frozen=True, slots=True)
class ApplyRules:
    """Put on record that a rule set is applied to what was (``com.incidents.config.rule_application.v1``).

    ``plan`` identifies what is to be done, ``merged``, ``split`` and ``left`` count it; ``since`` and ``until`` (ms)
    are the span. The rule set must be the one that decides.
    """

    name: str
    version: int
    plan: str
    stage: ApplicationStage
    actor: str
    since: int = 0
    until: int = 0
    merged: int = 0
    split: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class SetPreferences:
    """A tenant's preferences (``com.incidents.config.preferences.v1``); times in milliseconds, 0 turns a timer off."""

    actor: str
    auto_resolve: bool = False
    close_after_ms: int = 259_200_000
    archive_after_ms: int = 604_800_000


@dataclass(frozen=True, slots=True)
class Release:
    """Take up the work of a parked tenant again; what it missed is in the dead-letter topic, to be replayed."""

    actor: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Forget a person: ``pseudonym`` takes the place of ``identifier`` in the state (see ``domain.erasing``).

    The command itself is erased with the rest: what is left of it has the pseudonym in both fields.
    """

    identifier: str
    pseudonym: str
    actor: str
    reason: str = ""


Command = (
    Declare
    | Acknowledge
    | ChangeState
    | Assign
    | SetSeverity
    | ChangeFields
    | AddNote
    | Merge
    | Split
    | FireTimer
    | RecordEffect
    | SetSubscription
    | SetRuleSet
    | ChangeRuleSet
    | ApplyRules
    | SetPreferences
    | Release
    | Erase
    | SetMapping
    | RecordTicket
    | RecordFiles
    | TicketCommand
    | AttachmentCommand
)
