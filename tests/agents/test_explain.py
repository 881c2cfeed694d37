"""Why an alert is where it is: the rule that decided, and why each other one did not."""

from __future__ import annotations

from streams.agents.explain import Explanation, explain
from streams.agents.what_if import Recorded
from streams.domain.correlation import Rule
from streams.domain.signals import ProviderIngested
from tests.domain.intake import MINUTE, T0, Intake, signal


def record(intake: Intake) -> list[Recorded]:
    return [(r.envelope, r.event) for r in intake.recorded]


def explained(intake: Intake, id_: str) -> Explanation:
    found = explain(id_, record(intake))
    assert found is not None
    return found


def test_the_deciding_rule_and_those_that_lost() -> None:
    intake = Intake()
    intake.rules(
        Rule("reports", 2, ("service",), MINUTE, kind="report"),
        Rule("by-team", 2, ("service", "labels.team"), MINUTE),
        Rule("worst", 2, ("service",), MINUTE, when='severity == "SEV-1"'),
        Rule("by-error", 2, ("error_type",), MINUTE),
        Rule("by-service", 2, ("service",), MINUTE),
    )
    intake.decide([intake.message(signal(severity="SEV-2"), "a")])
    found = explained(intake, "a")
    assert (found.disposition, found.number, found.rule, found.version) == ("attached", 1, "by-error", 2)
    assert found.rule_set == "tests:1"
    assert [(one.rule, one.applies, one.why) for one in found.verdicts] == [
        ("reports", False, "it is for reports"),
        ("by-team", False, "the alert has no labels.team"),
        ("worst", False, 'its condition does not hold: severity == "SEV-1"'),
        ("by-error", True, "it applies"),
        ("by-service", True, "it applies"),
    ]
    assert found.verdicts[3].key == {"error_type": "latency"}


def test_what_repeats_resolves_or_is_only_kept_says_so() -> None:
    intake = Intake()
    messages = [
        intake.message(signal(), "a"),
        intake.message(signal(at=T0 + 1), "again"),
        intake.message(signal(at=T0 + 2, status="resolved"), "over"),
        intake.message(signal("unknown", status="resolved"), "early"),
        intake.message(ProviderIngested("pagerduty", "pd", "pagey.ping"), "ping"),
    ]
    intake.decide(messages)
    assert explained(intake, "again").disposition == "repeated"
    assert "it is over" in explained(intake, "over").reason
    assert explained(intake, "early").reason == "resolved before it fired"
    assert explained(intake, "ping").disposition == "kept_raw"
    assert explain("nobody", record(intake)) is None
    assert explain("a", record(intake), source="/elsewhere") is None
