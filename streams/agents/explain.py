"""Why an alert is where it is: every rule of the set that counted then, and what each made of the alert."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from streams.agents import conditions
from streams.agents.what_if import Recorded
from streams.domain import correlation, events
from streams.domain.correlation import Rule
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


def explain(alert_id: str, record: Iterable[Recorded], source: str = "") -> Explanation | None:
    """What the record says of a delivery id (of any source, unless one is given); none where it is not there."""
    rule_set = DEFAULT
    numbers: dict[str, events.Declared] = {}
    for envelope, event in record:
        match event:
            case events.Configured(what="rule_set"):
                rule_set = _rule_set(event)
            case events.Declared():
                numbers[envelope.subject] = event
            case events.AlertsAttached(alerts):
                for alert in alerts:
                    if _is(alert, alert_id, source):
                        return _attached(alert, envelope.subject, numbers.get(envelope.subject), rule_set)
            case events.AlertsRepeated(refs) | events.AlertsResolved(refs):
                for ref in refs:
                    if _is(ref, alert_id, source):
                        return _known(ref, event, envelope.subject, numbers.get(envelope.subject))
            case ProviderIngested(delivery_id=found) if found == alert_id and source in {"", event.delivery_source}:
                return Explanation(event.delivery_source, found, "kept_raw", reason=event.problem or "no signal")
            case events.IntakeRefused(id=found) if found == alert_id and source in {"", event.source}:
                return Explanation(event.source, found, event.disposition, reason=f"{event.reason}: {event.detail}")
            case _:
                continue
    return None


def _is(alert: events.Alert | events.AlertRef, alert_id: str, source: str) -> bool:
    return alert.id == alert_id and source in {"", alert.source}


def _rule_set(event: events.Configured) -> RuleSet:
    """The rule set that a change of configuration set."""
    rules = [Rule(**{**rule, "key_fields": tuple(rule["key_fields"])}) for rule in orjson.loads(event.content["rules"])]
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


def _known(ref: events.AlertRef, event: events.Event, incident: str, declared: events.Declared | None) -> Explanation:
    repeated = isinstance(event, events.AlertsRepeated)
    return Explanation(
        source=ref.source,
        id=ref.id,
        disposition="repeated" if repeated else "attached",
        incident_id=incident,
        number=declared.number if declared else 0,
        reason=f"the incident holds this alert already (fingerprint {ref.fingerprint}): "
        + ("it fired again or late" if repeated else "it is over"),
    )


def verdict(rule: Rule, signal: Signal) -> Verdict:
    """What a rule makes of a signal by itself, whatever the rules before it made of it."""
    key = {name: correlation.value_of(signal, name) for name in rule.key_fields}
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
