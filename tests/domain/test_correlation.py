"""Grouping: keys, windows, limits, duplicates, and that none of it depends on the order of arrival."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.conditions import holds
from streams.domain import commands, correlation, events, outputs
from streams.domain.correlation import DEFAULT_RULES, Rule, Window
from streams.domain.errors import Reason
from streams.domain.rules import SeverityRule, Silence
from streams.domain.signals import ProviderIngested, Signal
from tests.domain.intake import MINUTE, T0, Intake, signal

RULE = DEFAULT_RULES[0]


def test_alerts_of_one_service_and_error_within_the_window_are_one_incident() -> None:
    intake = Intake()
    intake.send(*(signal(f"fp-{n}", at=T0 + n * 9 * MINUTE) for n in range(5)))
    assert intake.groups() == {frozenset(f"m-{n}" for n in range(5))}
    assert intake.incident(intake.declared()[0]).alert_count == 5


def test_a_gap_longer_than_window_and_lateness_begins_another_incident() -> None:
    intake = Intake()
    intake.send(signal("fp-1", at=T0 - 30 * MINUTE), signal("fp-2", at=T0 - 14 * MINUTE))
    assert len(intake.declared()) == 2


def test_the_key_says_rule_and_version_and_does_not_depend_on_the_order_of_fields() -> None:
    one = Rule("r", 3, ("service", "host"), MINUTE)
    two = Rule("r", 3, ("host", "service"), MINUTE)
    alert = Signal(title="x", service="a", host="b")
    first, second = correlation.match([one], alert, holds), correlation.match([two], alert, holds)
    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert first.key.startswith("r:3:")


def test_values_that_only_look_alike_when_joined_have_different_keys() -> None:
    assert correlation.correlation_key("r", 1, "ab", "c") != correlation.correlation_key("r", 1, "a", "bc")


def test_the_first_rule_that_applies_decides() -> None:
    match = correlation.match(DEFAULT_RULES, signal(rule="HighLatency", host="web-1"), holds)
    assert match is not None
    assert match.rule.name == "service-error"
    match = correlation.match(DEFAULT_RULES, signal(error_type="", rule="HighLatency", host="web-1"), holds)
    assert match is not None
    assert match.rule.name == "rule-host"
    match = correlation.match(DEFAULT_RULES, signal(kind="report"), holds)
    assert match is not None
    assert match.rule.name == "report-service"


def test_what_no_rule_applies_to_is_an_incident_of_its_own() -> None:
    intake = Intake()
    intake.send(signal("fp-1", service=""), signal("fp-2", service=""))
    assert len(intake.declared()) == 2
    assert [r.event.rule for r in intake.recorded if isinstance(r.event, events.Declared)] == ["", ""]


def test_conditions_are_about_attributes_and_labels() -> None:
    rule = Rule("eu", 1, ("labels.region", "service"), MINUTE, when='labels.region == "eu" && severity <= "SEV-1"')
    matching = signal(severity="SEV-1", labels={"region": "eu"})
    assert correlation.match([rule], matching, holds) is not None
    assert correlation.match([rule], replace(matching, labels={"region": "us"}), holds) is None
    assert correlation.match([rule], replace(matching, severity="SEV-2"), holds) is None
    assert correlation.match([Rule("x", 1, ("no-such-field",), MINUTE)], matching, holds) is None


def test_a_full_incident_is_continued_by_one_linked_to_it() -> None:
    intake = Intake()
    intake.rules(Rule("service-error", 2, ("service", "error_type"), 10 * MINUTE, max_alerts=3))
    intake.send(*(signal(f"fp-{n}") for n in range(7)))
    first, second, third = (intake.incident(id_) for id_ in intake.declared())
    assert [first.alert_count, second.alert_count, third.alert_count] == [3, 3, 1]
    assert (second.related_to, second.relation) == (first.id, "continuation")
    assert third.related_to in {first.id, second.id}


def test_a_condition_that_cannot_be_evaluated_does_not_hold() -> None:
    for condition in ("labels.no_such == 'x'", "no_such == 'x'", "title + 1", "service =="):
        assert correlation.match([Rule("r", 1, ("service",), MINUTE, when=condition)], signal(), holds) is None


def test_what_a_rule_only_records_begins_no_incident() -> None:
    intake = Intake()
    intake.rules(
        Rule("noise", 1, ("service",), MINUTE, when='severity == "SEV-5"', action="record"),
        Rule("all", 1, ("service",), MINUTE),
    )
    kept = intake.send(signal("fp-1", severity="SEV-5"))
    assert isinstance(kept[0], ProviderIngested)
    assert kept[0].problem == "only recorded, by rule noise"
    intake.send(signal("fp-2"))
    assert len(intake.declared()) == 1


def test_a_silenced_signal_is_recorded_and_only_while_the_silence_lasts() -> None:
    intake = Intake()
    silence = Silence("deploy", 'service == "checkout"', T0, T0 + MINUTE, "deploy of checkout", "ada")
    intake.rules(Rule("all", 1, ("service",), MINUTE), silences=(silence,))
    kept = intake.send(signal("fp-1"))
    assert isinstance(kept[0], ProviderIngested)
    assert kept[0].problem == "silenced by deploy: deploy of checkout"
    intake.send(signal("fp-2", service="search"))
    assert len(intake.declared()) == 1
    intake.now += MINUTE
    intake.send(signal("fp-3"))
    assert len(intake.declared()) == 2


def test_severity_rules_overrule_the_provider() -> None:
    intake = Intake()
    intake.rules(Rule("all", 1, ("service",), MINUTE), severities=(SeverityRule('labels.priority == "P0"', "SEV-1"),))
    intake.send(signal("fp-1", severity="SEV-4", labels={"priority": "P0"}))
    assert intake.incident(intake.declared()[0]).severity == "SEV-1"


def test_a_rule_may_resolve_its_incidents_with_their_last_alert() -> None:
    for wanted, status in ((False, "open"), (True, "resolved")):
        intake = Intake()
        intake.rules(Rule("all", 1, ("service",), MINUTE, auto_resolve=wanted))
        intake.send(signal(), signal(at=T0 + 1, status="resolved"))
        assert intake.incident(intake.declared()[0]).status == status


def test_a_rule_set_without_sense_is_rejected() -> None:
    intake = Intake()
    for rules in ((), (Rule("r", 1, (), MINUTE),), (Rule("r", 1, ("service",), 0),)):
        result = intake.command(commands.SetRuleSet("shop", 1, rules, "user:ada"))
        assert isinstance(result, outputs.CommandRejected)
        assert result.reason == Reason.EMPTY_VALUE
    bad = commands.SetRuleSet("shop", 1, (Rule("r", 1, ("service",), 1),), "user:ada", (SeverityRule("true", "SEV-0"),))
    result = intake.command(bad)
    assert isinstance(result, outputs.CommandRejected)
    assert result.reason == Reason.UNKNOWN_SEVERITY


def test_an_incident_does_not_grow_older_than_its_rule_allows() -> None:
    window = Window("i", T0, T0 + 60 * MINUTE, T0)
    assert not correlation.is_full(window, T0 + 24 * 60 * MINUTE, 1, RULE)
    assert correlation.is_full(window, T0 + 24 * 60 * MINUTE + 1, 1, RULE)


def test_an_exact_duplicate_changes_nothing() -> None:
    intake = Intake()
    message = intake.message(signal())
    intake.decide([message, message])
    before = intake.folded()
    sealed = intake.decide([replace(message, offset=7)])
    assert intake.dispositions == ["decided", "duplicate", "duplicate"]
    assert not sealed.recorded
    assert intake.folded() == before


def test_the_same_id_from_another_source_is_another_alert() -> None:
    intake = Intake()
    intake.decide([intake.message(signal(), "x", source="/a"), intake.message(signal(), "x", source="/b")])
    assert intake.incident(intake.declared()[0]).alert_count == 2


def test_an_alert_that_fires_again_is_repeated_not_attached() -> None:
    intake = Intake()
    intake.send(signal("fp-1"), signal("fp-1", at=T0 + 1))
    incident = intake.incident(intake.declared()[0])
    assert (incident.alert_count, incident.repeat_count, incident.firing_count) == (1, 1, 1)


def test_a_resolved_alert_that_fires_later_is_attached_again() -> None:
    intake = Intake()
    intake.send(signal(), signal(at=T0 + MINUTE, status="resolved"), signal(at=T0 + 2 * MINUTE))
    incident = intake.incident(intake.declared()[0])
    assert (incident.alert_count, incident.firing_count) == (2, 1)


def test_resolved_before_fired_never_reopens() -> None:
    intake = Intake()
    intake.send(signal(at=T0 + MINUTE, status="resolved"))
    assert not intake.declared()
    intake.send(signal(at=T0))
    incident = intake.incident(intake.declared()[0])
    assert (incident.alert_count, incident.firing_count) == (1, 0)
    intake.send(signal(at=T0 + 1))
    assert intake.incident(incident.id).firing_count == 0


def test_all_resolved_resolves_the_incident_only_where_the_tenant_wants_it() -> None:
    for wanted, status in ((False, "open"), (True, "resolved")):
        intake = Intake()
        intake.command(commands.SetPreferences("user:ada", auto_resolve=wanted))
        intake.send(signal("fp-1"), signal("fp-2"), signal("fp-1", at=T0 + 1, status="resolved"))
        id_ = intake.declared()[0]
        assert intake.incident(id_).status == "open"
        intake.send(signal("fp-2", at=T0 + 1, status="resolved"))
        assert intake.incident(id_).status == status


def test_an_alert_after_the_incident_was_resolved_is_a_recurrence() -> None:
    intake = Intake()
    intake.send(signal("fp-1"))
    id_ = intake.declared()[0]
    intake.command(commands.ChangeState(id_, "resolved", "user:ada"))
    intake.send(signal("fp-2", at=intake.now + MINUTE), signal("fp-3", at=intake.now + MINUTE))
    assert len(intake.declared()) == 2, "both belong to the one that recurred"
    again = intake.incident(intake.declared()[1])
    assert (again.related_to, again.relation, again.alert_count) == (id_, "recurrence", 2)


def test_an_alert_of_before_the_resolution_does_not_begin_another_incident() -> None:
    intake = Intake()
    intake.send(signal("fp-1"))
    intake.command(commands.ChangeState(intake.declared()[0], "resolved", "user:ada"))
    intake.send(signal("fp-2", at=T0 - MINUTE))
    assert len(intake.declared()) == 1
    assert intake.incident(intake.declared()[0]).status == "resolved"


def test_a_worse_alert_raises_the_severity_unless_a_person_set_it() -> None:
    intake = Intake()
    intake.send(signal("fp-1", severity="SEV-3"), signal("fp-2", severity="SEV-1"), signal("fp-3", severity="SEV-4"))
    id_ = intake.declared()[0]
    assert intake.incident(id_).severity == "SEV-1"
    intake.command(commands.SetSeverity(id_, "SEV-4", "user:ada"))
    intake.send(signal("fp-4", severity="SEV-2"))
    assert intake.incident(id_).severity == "SEV-4"


def test_a_clock_that_is_far_off_is_not_believed() -> None:
    intake = Intake()
    intake.send(signal("fp-1"), signal("fp-2", at=T0 + 400 * 24 * 60 * MINUTE), signal("fp-3", at=1))
    times = [
        a.event_time for r in intake.recorded if isinstance(r.event, events.AlertsAttached) for a in r.event.alerts
    ]
    assert max(times) - min(times) <= 24 * 60 * MINUTE + 5 * MINUTE + 10


def test_windows_and_ids_are_forgotten_as_recorded_time_passes() -> None:
    intake = Intake()
    intake.send(*(signal(f"fp-{n}", service=f"s{n}") for n in range(20)))
    assert len(intake.tenant.windows) == 20
    assert len(intake.tenant.known) == 20
    intake.now += 4 * 24 * 60 * MINUTE
    intake.send(signal("fp-late"))
    assert len(intake.tenant.windows) == 1
    assert len(intake.tenant.known) == 1


def test_a_resolve_waits_for_its_alert_only_so_long() -> None:
    intake = Intake()
    intake.send(signal("never", status="resolved"), signal("late", status="resolved"))
    intake.send(signal("late", at=T0 - 1))
    assert len(intake.tenant.alerts) == 2
    intake.now += 3 * 24 * 60 * MINUTE
    intake.send(signal("fp-other", at=intake.now))
    assert len(intake.tenant.alerts) == 2, "the one without an alert is forgotten, the held one stays"
    assert len(intake.tenant.alerts_of.get("", ())) == 0


_bursts = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.lists(st.integers(0, 9 * MINUTE), min_size=1, max_size=6)),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(_bursts, st.randoms(use_true_random=False), st.lists(st.integers(0, 30), max_size=10))
def test_reordered_and_duplicated_deliveries_converge(
    bursts: list[tuple[int, int, list[int]]], rng: random.Random, again: list[int]
) -> None:
    """Late by at most the lateness bound and below the limits, the groups are those of the order of event times."""
    deliveries: list[tuple[int, Signal]] = []
    for index, (service, error, gaps) in enumerate(bursts):
        at = T0 + index * 60 * MINUTE
        for gap in gaps:
            at += gap
            deliveries.append(
                (at, signal(f"fp-{len(deliveries)}", at=at, service=f"s{service}", error_type=f"e{error}"))
            )
    shuffled = sorted(deliveries, key=lambda d: d[0] + rng.uniform(0, RULE.lateness_ms))
    shuffled += [shuffled[n] for n in again if n < len(shuffled)]
    groups = []
    for order in (sorted(deliveries, key=lambda d: d[0]), shuffled):
        intake = Intake()
        for at, item in order:
            intake.now = max(intake.now, at)
            intake.decide([intake.message(item, item.fingerprint)])
        groups.append(intake.groups())
    assert groups[0] == groups[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=40), st.data())
def test_how_the_intake_is_cut_into_batches_does_not_change_the_groups(keys: list[int], data: st.DataObject) -> None:
    signals = [signal(f"fp-{key}", at=T0 + n * 1000, service=f"s{key % 3}") for n, key in enumerate(keys)]
    one, many = Intake(), Intake()
    one.decide([one.message(item) for item in signals])
    messages = [many.message(item) for item in signals]
    while messages:
        size = data.draw(st.integers(1, len(messages)))
        many.decide(messages[:size])
        messages = messages[size:]
    assert one.groups() == many.groups()
    assert {i.number: i.alert_count for i in one.folded().values()} == {
        i.number: i.alert_count for i in many.folded().values()
    }
