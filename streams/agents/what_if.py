"""What-if: the recorded intake decided again under another rule set, beside what was recorded (design section 6).

Nothing here can write: there is no producer and no database, only records that were read. A person's command is aimed
at the simulated incident that holds the first alert of the incident that it named; recorded timers, results of effects
and what was seen of tickets are left out, configuration of correlation too. Timers fire as the simulated incidents set
them. The same input gives the same report.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from streams.agents import conditions
from streams.agents.grouping import Delivery, Grouping
from streams.domain import alerts, commands, events, outputs
from streams.domain.batch import Batch, PartitionState
from streams.domain.catalogue import TYPE_OF
from streams.domain.configuring import command_of
from streams.domain.correlation import DAY_MS
from streams.domain.envelope import Envelope, derive_id
from streams.domain.errors import InvalidEvent
from streams.domain.message import Message
from streams.domain.rules import RuleSet
from streams.domain.signals import Signal
from streams.domain.ticket_commands import LinkTicket, ReconcileTickets, ResolveConflict, UnlinkTicket
from streams.domain.ticket_files import FilesObserved, RecordFiles
from streams.domain.tickets import RecordTicket, TicketObserved

BATCH = 10_000
"""So many signals are decided before their events are sealed; the report does not depend on it."""

_TIMERS: dict[type, commands.TimerKind] = {
    events.Resolved: "close",
    events.Closed: "archive",
    events.Merged: "archive",
    events.Flapping: "settle",
}


@dataclass(frozen=True, slots=True)
class Unaimed:
    """A person's command that found no incident in the simulation."""

    command: str
    incident: str
    actor: str
    why: str


@dataclass(slots=True)
class Simulation:
    """The recorded grouping and the simulated one, for one tenant."""

    recorded: Grouping = field(default_factory=Grouping)
    simulated: Grouping = field(default_factory=Grouping)
    signals: int = 0
    commands: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unaimed: list[Unaimed] = field(default_factory=list)


Recorded = tuple[Envelope, events.Event | outputs.Intent]


def simulate(tenant: str, rule_set: RuleSet, intake: Iterable[Message], record: Iterable[Recorded]) -> Simulation:
    """Decide a tenant's recorded intake under a rule set.

    ``intake`` are its messages in offset order, ``record`` its events and intents of the same span. Signals outside of
    the span are not known: the simulation begins without state.
    """
    run = Run(tenant, rule_set)
    run.take_record(record)
    run.decide(intake)
    return run.simulation


def _unwritten(_: object) -> bytes:
    """Nothing of a simulation is stored, so that its data needs no bytes, and no hash that vouches for them."""
    return b""


class Run:
    """One simulation in the making: the record and then the intake, at once or part by part as they grow."""

    def __init__(self, tenant: str, rule_set: RuleSet) -> None:
        self.simulation = Simulation()
        self._state = PartitionState(holds=conditions.holds)
        self._tenant = self._state.tenant(tenant)
        self._timers: list[tuple[int, str, commands.TimerKind, str]] = []
        self._batch: Batch | None = None
        self._batches = self._held = self._until = 0
        publish = command_of(rule_set, "system:what-if")
        envelope = Envelope("what-if", "/what-if", TYPE_OF[commands.SetRuleSet], tenant)
        self._add(Message(envelope, publish, 0, "incident-intake", 0, -1))
        self._seal()

    def take_record(self, record: Iterable[Recorded]) -> None:
        """Note what was recorded of the messages that are decided next."""
        for envelope, event in record:
            if isinstance(event, outputs.Intent):
                self.simulation.recorded.effects[event.action] += 1
            else:
                self.simulation.recorded.take(envelope, event)

    def decide(self, intake: Iterable[Message]) -> None:
        """Decide every message that has a part in the simulation."""
        for message in intake:
            if self._batch is not None and (message.recorded >= self._until or self._held >= BATCH):
                self._seal()
            if self._timers and self._timers[0][0] <= message.recorded:
                self._seal()
                self._fire(message)
            if isinstance(message.data, Signal):
                self.simulation.signals += 1
                self._add(message)
                continue
            self._seal()  # a command is aimed at what the signals before it have become
            if (aimed := self._aim(message)) is not None:
                self._add(aimed)
                self._seal()
        self._seal()

    def _soonest(self) -> int:
        """How long after its cause the first timer that this batch may set is due: until then none can be missed."""
        preferences, rules = self._tenant.preferences, self._tenant.rule_set.rules
        after = [preferences.close_after_ms, preferences.archive_after_ms, *(rule.flap_window_ms for rule in rules)]
        return min(filter(None, after), default=DAY_MS)

    def _add(self, message: Message) -> None:
        """Decide a message; what it causes is noted when its batch is sealed."""
        batch = self._batch
        if batch is None:
            self._batches += 1
            # Of its own name each: under one name, the deliveries of the batch before would be forgotten.
            self._batch = batch = Batch(self._state, f"what-if:{self._batches}", chained=False)
            self._until = message.recorded + self._soonest()
            self._held = 0
        self._held += 1
        try:
            batch.add(message)
        except InvalidEvent as error:
            self.simulation.left_out[error.reason] += 1
        self._state.journal.clear()  # nothing is taken back later, and what is small stays in the cache

    def _seal(self) -> None:
        """Note what the messages since the last time have caused."""
        if self._batch is None:
            return
        sealed = self._batch.seal(_unwritten)
        self._batch = None
        self._state.journal.clear()
        for recorded in sealed.recorded:
            self.simulation.simulated.take(recorded.envelope, recorded.event)
            if due := getattr(recorded.event, "due", 0):
                kind = _TIMERS[type(recorded.event)]
                heapq.heappush(self._timers, (due, recorded.envelope.subject, kind, recorded.envelope.id))
        for _, intent in sealed.intents:
            self.simulation.simulated.effects[intent.action] += 1

    def _fire(self, before: Message) -> None:
        """Fire the timers that are due before a message, as a scheduler that is never late."""
        while self._timers and self._timers[0][0] <= before.recorded:
            due, incident, kind, cause = heapq.heappop(self._timers)
            command = commands.FireTimer(incident, kind, due, cause)
            id_ = derive_id(cause, kind, "what-if")
            envelope = Envelope(id_, "/what-if", TYPE_OF[commands.FireTimer], before.envelope.tenantid)
            self._add(Message(envelope, command, due, before.topic, before.partition, before.offset))
            self._seal()

    def _aim(self, message: Message) -> Message | None:
        """The message as the simulation takes it; none for what it leaves out."""
        data = message.data
        match data:
            case (
                commands.FireTimer()
                | commands.RecordEffect()
                | commands.SetRuleSet()
                | commands.ChangeRuleSet()
                | commands.ApplyRules()
                | commands.Release()
                | commands.Erase()
                | TicketObserved()
                | FilesObserved()
                | RecordTicket()
                | RecordFiles()
                | LinkTicket()
                | UnlinkTicket()
                | ResolveConflict()
                | ReconcileTickets()
            ):
                self.simulation.left_out[TYPE_OF[type(data)]] += 1
                return None
            case commands.Declare() | commands.SetSubscription() | commands.SetPreferences():
                return message
            case commands.Merge(by_rules=by_rules) | commands.Split(by_rules=by_rules) if by_rules:
                self.simulation.left_out[TYPE_OF[type(data)]] += 1
                return None
            case _ if hasattr(data, "incident_id"):
                return self._aim_command(message)
            case _:
                return message

    def _aim_command(self, message: Message) -> Message | None:
        self.simulation.commands += 1
        data: Any = message.data
        targets: dict[str, str] = {}
        for name in ("incident_id", "into"):
            named = getattr(data, name, "")
            if not named:
                continue
            target = self._target(named)
            if target is None:
                self.simulation.unaimed.append(
                    Unaimed(TYPE_OF[type(data)], named, str(data.actor), "its first alert begins no incident here")
                )
                return None
            targets[name] = target
        values = {f.name: getattr(data, f.name) for f in fields(data)} | targets
        if "expected_revision" in values:
            values["expected_revision"] = 0  # revisions are the record's; people meant the incident as they saw it
        aimed = type(data)(**values)
        return Message(message.envelope, aimed, message.recorded, message.topic, message.partition, message.offset)

    def _target(self, incident: str) -> str | None:
        """The simulated incident that holds the first alert of a recorded one; one that a person declared is itself."""
        first = self.simulation.recorded.first_alert.get(incident)
        if first is None:
            return incident if self._tenant.incidents.get(incident) is not None else None
        # By what is left of it where a person was erased: the key that was recorded is that of what was there.
        known = self._tenant.alerts.get(alerts.alert_key(*first))
        holder = self._tenant.holder(known.incident_id) if known else None
        return holder.id if holder else None


def changes(simulation: Simulation) -> Mapping[str, list[dict[str, Any]]]:
    """How the groupings differ: ``merged``, ``split``, ``appeared``, ``vanished``, and the alerts that ``moved``."""
    recorded, simulated = simulation.recorded, simulation.simulated
    merged = []
    for incident, deliveries in simulated.deliveries.items():
        former = _incidents(recorded, deliveries)
        if len(former) > 1:
            merged.append({**_shown(simulated, incident), "from": [_shown(recorded, one) for one in former]})
    split, vanished = [], []
    for incident, deliveries in recorded.deliveries.items():
        later = _incidents(simulated, deliveries)
        if len(later) > 1:
            split.append({**_shown(recorded, incident), "into": [_shown(simulated, one) for one in later]})
        if not later:
            vanished.append(_shown(recorded, incident))
    appeared = [
        _shown(simulated, incident)
        for incident, deliveries in simulated.deliveries.items()
        if not _incidents(recorded, deliveries)
    ]
    return {"merged": merged, "split": split, "appeared": appeared, "vanished": vanished, "moved": _moved(simulation)}


def _incidents(grouping: Grouping, deliveries: Iterable[Delivery]) -> list[str]:
    """The incidents that hold any of the deliveries, each once, in the order of the deliveries."""
    return list(dict.fromkeys(grouping.incident_of[d] for d in deliveries if d in grouping.incident_of))


def _shown(grouping: Grouping, incident: str) -> dict[str, Any]:
    first, last = grouping.spans.get(incident, (0, 0))
    return {
        "number": grouping.numbers.get(incident, 0),
        "title": grouping.titles.get(incident, ""),
        "alerts": len(grouping.deliveries[incident]),
        "first": first,
        "last": last,
    }


def _moved(simulation: Simulation) -> list[dict[str, Any]]:
    """Alerts that would stand with other company: in another incident than most of those that were with them."""
    recorded, simulated = simulation.recorded, simulation.simulated
    moved = []
    for incident, deliveries in recorded.deliveries.items():
        found = Counter(simulated.incident_of[d] for d in deliveries if d in simulated.incident_of)
        home = min(found, key=lambda one: (-found[one], simulated.numbers.get(one, 0)), default="")
        for delivery in deliveries:
            now = simulated.incident_of.get(delivery, "")
            if now != home:
                moved.append(
                    {
                        "source": delivery[0],
                        "id": delivery[1],
                        "from": recorded.numbers.get(incident, 0),
                        "to": simulated.numbers.get(now, 0),
                    }
                )
    return moved
