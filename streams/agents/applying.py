"""Retroactive correction: the merges and splits that turn recorded incidents into those of another rule set.

A plan is made from a what-if. It keeps as many alerts as it can where they are: each simulated incident is given the
recorded one that already holds most of its alerts, what stands elsewhere is split off, and a recorded incident that is
given none is merged. Incidents that are closed, archived or began before the span are left as they are, and named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any, Literal

import orjson

from streams.agents.grouping import Delivery
from streams.agents.what_if import Recorded, Simulation
from streams.domain import commands, events, outputs
from streams.domain.events import External, SplitAlert
from streams.domain.incident import Incident, evolve
from streams.domain.lifecycle import FINAL
from streams.domain.regrouping import MOST_ALERTS


@dataclass(slots=True)
class _Alert:
    """One alert in a recorded incident; ``delivery`` is its last signal that was attached there."""

    title: str
    delivery: Delivery
    count: int
    first: int
    last: int
    external: External | None

    def as_split(self, key: str) -> SplitAlert:
        return SplitAlert(key, self.count, self.first, self.last, self.title)


@dataclass(slots=True)
class Held:
    """The recorded incidents that began in the span, and which alerts each holds."""

    incidents: dict[str, Incident] = field(default_factory=dict)
    alerts: dict[str, dict[str, _Alert]] = field(default_factory=lambda: defaultdict(dict))
    holder: dict[str, str] = field(default_factory=dict)

    def through(self, record: Iterable[Recorded]) -> Iterator[Recorded]:
        """Pass the record on and fold it on its way."""
        for envelope, event in record:
            if not isinstance(event, outputs.Intent | events.TenantEvent):
                self._take(envelope.subject, event, envelope.recordedtime)
            yield envelope, event

    def _take(self, subject: str, event: events.IncidentEvent, at: int) -> None:
        if subject in self.incidents or isinstance(event, events.Declared):
            self.incidents[subject] = evolve(self.incidents.get(subject), event, id_=subject, at=at)
        match event:
            case events.AlertsAttached(alerts):
                for alert in alerts:
                    self._attach(subject, alert)
            case events.Merged(role="source", other=other):
                self._move(subject, other, list(self.alerts[subject]))
            case events.Split(role="source", other=other, alerts=moved):
                self._move(subject, other, [alert.alert_key for alert in moved])

    def _attach(self, subject: str, alert: events.Alert) -> None:
        key, at, delivery = alert.alert_key, alert.event_time, (alert.source, alert.id)
        external = External(alert.connector, alert.integration_id, alert.external_id) if alert.external_id else None
        known = self.alerts[subject].get(key)
        self.holder[key] = subject
        if known is None:
            self.alerts[subject][key] = _Alert(alert.title, delivery, 1, at, at, external)
            return
        known.delivery, known.count, known.external = delivery, known.count + 1, external or known.external
        known.first, known.last = min(known.first, at), max(known.last, at)

    def _move(self, source: str, target: str, keys: Iterable[str]) -> None:
        for key in keys:
            alert = self.alerts[source].pop(key, None)
            if alert is not None:
                self.alerts[target][key] = alert
            if self.holder.get(key) == source:
                self.holder[key] = target


Change = Literal["split", "merge"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command: ``into`` is an incident, or ``new:<n>`` for the one that the first step with this name makes."""

    change: Change
    incident: str
    into: str
    alerts: tuple[SplitAlert, ...] = ()
    externals: tuple[External, ...] = ()
    title: str = ""
    severity: str = ""
    service: str = ""
    because: tuple[str, int, str] = ("", 0, "")


@dataclass(frozen=True, slots=True)
class Left:
    """An incident that the rule set would change and that is left as it is."""

    number: int
    incident: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, in its order; ``plan_id`` is a digest of it, so that what was looked at is what is done.

    ``stay`` counts alerts that stay though the rule set would have them elsewhere: those it would keep without an
    incident, and those whose alert another incident holds by now.
    """

    rule_set: str
    steps: tuple[Step, ...]
    left: tuple[Left, ...]
    stay: int
    numbers: Mapping[str, int]

    @property
    def plan_id(self) -> str:
        """Twelve hexadecimal digits."""
        content = {"rule_set": self.rule_set, "steps": [asdict(step) for step in self.steps]}
        return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]

    def count(self, change: Change) -> int:
        """How many steps of a kind there are."""
        return sum(step.change == change for step in self.steps)

    def command(self, place: int, made: Mapping[str, str], actor: str) -> commands.Merge | commands.Split:
        """The command of a step; ``made`` maps the names of new incidents to their ids, as far as they are made."""
        step, reason = self.steps[place], f"rules {self.rule_set} applied, plan {self.plan_id}"
        into = made.get(step.into, "") if step.into.startswith("new:") else step.into
        if step.change == "merge":
            return commands.Merge(step.incident, into, actor, reason=reason, by_rules=self.rule_set)
        rule, version, key = step.because
        return commands.Split(
            incident_id=step.incident,
            alerts=step.alerts,
            actor=actor,
            into=into,
            title=step.title,
            severity=step.severity,
            service=step.service,
            rule=rule,
            rule_version=version,
            correlation_key=key,
            externals=step.externals,
            reason=reason,
            by_rules=self.rule_set,
        )

    def as_document(self) -> dict[str, Any]:
        """The plan, JSON-ready."""
        return {
            "plan": self.plan_id,
            "rules": self.rule_set,
            "merges": [
                {"incident": self.named(step.incident), "into": self.named(step.into)}
                for step in self.steps
                if step.change == "merge"
            ],
            "splits": [
                {
                    "incident": self.named(step.incident),
                    "into": self.named(step.into),
                    "title": step.title,
                    "alerts": len(step.alerts),
                }
                for step in self.steps
                if step.change == "split"
            ],
            "left": [asdict(one) for one in self.left],
            "alerts_that_stay": self.stay,
        }

    def named(self, incident: str) -> str:
        """The incident for people."""
        return f"INC-{self.numbers[incident]}" if incident in self.numbers else incident


def plan(simulation: Simulation, held: Held, rule_set: str) -> Plan:
    """The steps from what is held to what was simulated, the same for the same input."""
    return _Planning(simulation, held, rule_set).plan()


class _Planning:
    def __init__(self, simulation: Simulation, held: Held, rule_set: str) -> None:
        self._simulated = simulation.simulated
        self._recorded = simulation.recorded
        self._held = held
        self._rule_set = rule_set
        self._stay = 0
        self._steps: list[Step] = []
        self._groups = {incident: self._grouped(incident) for incident in sorted(held.alerts, key=self._number)}
        self._home = self._homes()

    def plan(self) -> Plan:
        left = [one for incident in self._groups if (one := self._left(incident)) is not None]
        eligible = [incident for incident in self._groups if not self._why_left(incident)]
        stays = {incident: self._main(incident) for incident in eligible}
        for incident in eligible:
            for group, keys in self._groups[incident].items():
                if group != stays[incident]:
                    self._split(incident, group, keys)
        for incident in eligible:
            home = self._home.get(stays[incident], "")
            if home and home != incident:
                self._steps.append(Step("merge", incident, home))
        numbers = dict(self._recorded.numbers)
        return Plan(self._rule_set, tuple(self._steps), tuple(left), self._stay, numbers)

    def _number(self, incident: str) -> tuple[int, str]:
        return self._recorded.numbers.get(incident, 0), incident

    def _grouped(self, incident: str) -> dict[str, list[str]]:
        """The incident's alerts by simulated incident; what is simulated in none stays where it is."""
        found: dict[str, list[str]] = defaultdict(list)
        for key, alert in self._held.alerts[incident].items():
            group = self._simulated.incident_of.get(alert.delivery)
            if group is None:
                self._stay += 1
            else:
                found[group].append(key)
        return dict(found)

    def _why_left(self, incident: str) -> str:
        found = self._held.incidents.get(incident)
        if found is None:
            return "it began before the span"
        if found.archived_at:
            return "it is archived"
        return f"it is {found.status}" if found.status in FINAL else ""

    def _left(self, incident: str) -> Left | None:
        """The incident as one that is left, where the rule set would have changed it."""
        why, groups = self._why_left(incident), self._groups[incident]
        shared = any(group in others for group in groups for one, others in self._groups.items() if one != incident)
        if not why or (len(groups) <= 1 and not shared):
            return None
        return Left(self._number(incident)[0], incident, why)

    def _homes(self) -> dict[str, str]:
        """For simulated incidents the recorded one that stands for each: that with most of its alerts, each once."""
        weights = [
            (-len(keys), self._number(incident), self._simulated.numbers.get(group, 0), group)
            for incident, groups in self._groups.items()
            if not self._why_left(incident)
            for group, keys in groups.items()
        ]
        home: dict[str, str] = {}
        taken: set[str] = set()
        for _, (_, incident), _, group in sorted(weights):
            if group not in home and incident not in taken:
                home[group] = incident
                taken.add(incident)
        return home

    def _main(self, incident: str) -> str:
        """The group that the incident itself goes with: the one it is home of, else that of most of its alerts."""
        groups = self._groups[incident]
        own = [group for group in groups if self._home.get(group) == incident]
        return own[0] if own else min(groups, key=lambda group: (-len(groups[group]), group), default="")

    def _split(self, incident: str, group: str, keys: list[str]) -> None:
        movable = [key for key in keys if self._held.holder.get(key) == incident]
        self._stay += len(keys) - len(movable)
        numbers = self._simulated.numbers
        into = self._home.get(group) or f"new:{numbers.get(group, 0)}"
        was = self._held.incidents[incident]
        for start in range(0, len(movable), MOST_ALERTS):
            part = movable[start : start + MOST_ALERTS]
            alerts = tuple(self._held.alerts[incident][key].as_split(key) for key in part)
            step = Step(
                "split",
                incident,
                into,
                alerts,
                self._externals(incident, part),
                self._simulated.titles.get(group, ""),
                was.severity,
                was.service,
                self._simulated.because.get(group, ("", 0, "")),
            )
            self._steps.append(step)

    def _externals(self, incident: str, keys: list[str]) -> tuple[External, ...]:
        """The providers' objects of these alerts that none of the incident's other alerts needs."""
        alerts = self._held.alerts[incident]
        others = {alert.external for key, alert in alerts.items() if key not in set(keys)}
        found = [alerts[key].external for key in keys]
        return tuple(dict.fromkeys(one for one in found if one is not None and one not in others))
