"""Why an alert is where it is: every rule of the set that counted then, and what each made of the alert."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import orjson

from streams.agents import conditions
from streams.agents.what_if import Recorded
from streams.domain import correlation, events, outputs
from streams.domain.correlation import Rule
from streams.domain.envelope import Envelope
from streams.domain.rules import DEFAULT, RuleSet
from streams.domain.signals import ProviderIngested, Signal


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule made of an alert; ``key`` maps its key fields to the alert's values."""

    rule: str
    version: int
    applies: bool
    why: str
    key: dict[str, str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where an alert ended, and why.

    ``incident_id`` and ``number`` are empty and 0 for one that is in no incident; ``reason`` then says why.
    """

    source: str
    id: str
    disposition: str
    incident_id: str = ""
    number: int = 0
    rule: str = ""
    version: int = 0
    key: str = ""
    relation: str = ""
    reason: str = ""
    rule_set: str = ""
    verdicts: tuple[Verdict, ...] = ()
    family: tuple[str, ...] = ()
    """What the incident is to others along the service graph, in words."""


def explain(alert_id: str, record: Iterable[Recorded], source: str = "") -> Explanation | None:
    """What the record says of a delivery id (of any source, unless one is given); none where it is not there.

    The family of its incident is that at the end of the record.
    """
    found = None
    numbers: dict[str, events.Declared] = {}
    links: dict[str, list[events.Linked]] = defaultdict(list)
    explaining = _Explaining(alert_id, source, numbers)
    for envelope, event in record:
        if isinstance(event, events.Declared):
            numbers[envelope.subject] = event
        elif isinstance(event, events.Linked):
            links[envelope.subject].append(event)
        elif found is None:
            found = explaining.take(envelope, event)
    if found is None:
        return None
    return replace(found, family=tuple(_link(one, numbers) for one in links[found.incident_id]))


def _link(link: events.Linked, numbers: Mapping[str, events.Declared]) -> str:
    other = f"INC-{numbers[link.other].number}" if link.other in numbers else link.other
    role = "the cause" if link.role == "cause" else "an effect"
    return f"{role} of {other} ({' depends on '.join(link.path)}; by rule set {link.rule_set})"


class _Explaining:
    """Reads the record up to the signal that is looked for."""

    def __init__(self, alert_id: str, source: str, numbers: Mapping[str, events.Declared]) -> None:
        self._alert_id = alert_id
        self._source = source
        self._numbers = numbers
        self._rule_set = DEFAULT
        self._flapping: set[str] = set()

    def take(self, envelope: Envelope, event: events.Event | outputs.Intent) -> Explanation | None:
        """The explanation, where the event is the one that has it."""
        alert_id, source, numbers, rule_set = self._alert_id, self._source, self._numbers, self._rule_set
        match event:
            case events.Configured(what="rule_set"):
                self._rule_set = _rule_set(event)
            case events.Flapping(state, alerts):
                keys = {alert.alert_key for alert in alerts}
                self._flapping = self._flapping - keys if state == "ended" else self._flapping | keys
            case events.AlertsAttached(alerts):
                for alert in alerts:
                    if _is(alert, alert_id, source):
                        return _attached(alert, envelope.subject, numbers.get(envelope.subject), rule_set)
            case events.AlertsRepeated(refs) | events.AlertsResolved(refs):
                for ref in refs:
                    if _is(ref, alert_id, source):
                        flapping = ref.alert_key in self._flapping
                        return _known(ref, event, (envelope.subject, numbers.get(envelope.subject)), flapping=flapping)
            case ProviderIngested(delivery_id=found) if found == alert_id and source in {"", event.delivery_source}:
                return Explanation(event.delivery_source, found, "kept_raw", reason=event.problem or "no signal")
            case events.IntakeRefused(id=found) if found == alert_id and source in {"", event.source}:
                return Explanation(event.source, found, event.disposition, reason=f"{event.reason}: {event.detail}")
        return None


def _is(alert: events.Alert | events.AlertRef, alert_id: str, source: str) -> bool:
    return alert.id == alert_id and source in {"", alert.source}


def _rule_set(event: events.Configured) -> RuleSet:
    """The rule set that a change of configuration set."""
    rules = [
        Rule(**{**rule, **{name: tuple(rule[name]) for name in ("key_fields", "flap_stops") if name in rule}})
        for rule in orjson.loads(event.content["rules"])
    ]
    return RuleSet(event.content["name"], int(event.content["version"]), tuple(rules))


def _attached(alert: events.Alert, incident: str, declared: events.Declared | None, rule_set: RuleSet) -> Explanation:
    signal = Signal(
        title=alert.title,
        fingerprint=alert.fingerprint,
        severity=alert.severity,
        service=alert.service,
        host=alert.host,
        error_type=alert.error_type,
        rule=alert.rule,
        kind="report" if alert.kind == "report" else "alert",
        connector=alert.connector,
        integration_id=alert.integration_id,
        labels=alert.labels,
    )
    return Explanation(
        source=alert.source,
        id=alert.id,
        disposition="attached",
        incident_id=incident,
        number=declared.number if declared else 0,
        rule=alert.correlation_rule,
        version=alert.correlation_version,
        key=alert.correlation_key,
        relation=declared.relation if declared else "",
        rule_set=f"{rule_set.name}:{rule_set.version}",
        verdicts=tuple(verdict(rule, signal) for rule in rule_set.rules),
    )


def _known(
    ref: events.AlertRef, event: events.Event, place: tuple[str, events.Declared | None], *, flapping: bool
) -> Explanation:
    incident, declared = place
    repeated = isinstance(event, events.AlertsRepeated)
    again = "it is flapping, and what it does is only noted" if flapping else "it fired again or late"
    return Explanation(
        source=ref.source,
        id=ref.id,
        disposition="repeated" if repeated else "attached",
        incident_id=incident,
        number=declared.number if declared else 0,
        reason=f"the incident holds this alert already (fingerprint {ref.fingerprint}): "
        + (again if repeated else "it is over"),
    )


def verdict(rule: Rule, signal: Signal) -> Verdict:
    """What a rule makes of a signal by itself, whatever the rules before it made of it."""
    key = {name: correlation.reading(name)(signal) for name in rule.key_fields}
    missing = [name for name, value in key.items() if not value]
    if rule.kind != signal.kind:
        why = f"it is for {rule.kind}s"
    elif missing:
        why = f"the alert has no {' and no '.join(missing)}"
    elif rule.when and not conditions.holds(rule.when, signal):
        why = f"its condition does not hold: {rule.when}"
    else:
        return Verdict(rule.name, rule.version, applies=True, why="it applies", key=key)
    return Verdict(rule.name, rule.version, applies=False, why=why, key=key)
