"""The tests in a rule file: its signals, decided as the orchestrator decides them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.agents import conditions
from streams.agents.rule_files import EPOCH, RuleFile, RuleTest
from streams.codec import avro
from streams.domain import events
from streams.domain.batch import Batch, PartitionState
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.message import Data, Message
from streams.domain.rules import RuleSet

_TENANT = "rule-tests"


@dataclass(slots=True)
class Outcome:
    """What a test's signals became: the groups of them, and pairs of incidents of a family (cause, effect)."""

    groups: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    families: list[tuple[str, str]] = field(default_factory=list)

    def differs(self, test: RuleTest) -> Iterator[tuple[str, list[list[str]], list[list[str]]]]:
        """What is not as expected: its name, what was expected and what was found."""
        groups = frozenset(map(frozenset, self.groups.values()))
        if groups != test.expect:
            yield "groups", _sorted(test.expect), _sorted(groups)
        if test.families is None:
            return
        # A pair stands for its two incidents, whichever of their signals it names.
        incident_of = {signal: incident for incident, signals in self.groups.items() for signal in signals}
        expected = {(incident_of.get(cause, cause), incident_of.get(effect, effect)) for cause, effect in test.families}
        if expected != set(self.families):
            first = {incident: min(signals) for incident, signals in self.groups.items()}
            found = [[first[cause], first[effect]] for cause, effect in self.families]
            yield "families", sorted(map(list, test.families)), sorted(found)


def run_test(rule_set: RuleSet, test: RuleTest) -> Outcome:
    """What a test's signals become under a rule set."""
    batch = Batch(PartitionState(holds=conditions.holds), "0:0:0")
    batch.add(_message(RuleFile(rule_set, ()).command("system:rule-test"), "rule-set", 0))
    for id_, at, signal in test.signals:
        batch.add(_message(signal, id_, at))
    outcome = Outcome()
    for recorded in batch.seal(lambda data: avro.encode(data)[0]).recorded:
        event, incident = recorded.event, recorded.envelope.subject
        if isinstance(event, events.AlertsAttached | events.AlertsRepeated):
            outcome.groups[incident] |= {alert.id for alert in event.alerts}
        elif isinstance(event, events.Linked) and event.role == "cause":
            outcome.families.append((incident, event.other))
    return outcome


def failed(file: RuleFile) -> list[str]:
    """The names of the tests in a file that fail."""
    return [test.name for test in file.tests if any(run_test(file.rule_set, test).differs(test))]


def _message(data: Data, id_: str, at: int) -> Message:
    return Message(Envelope(id_, "/tests", TYPE_OF[type(data)], _TENANT), data, EPOCH + at, "incident-intake", 0, 0)


def _sorted(groups: frozenset[frozenset[str]]) -> list[list[str]]:
    return sorted(sorted(group) for group in groups)
