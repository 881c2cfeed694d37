"""The stages of rule sets: a draft decides nothing, is promoted, withdrawn or gone back from, and guards its name."""

from __future__ import annotations

import pytest

from streams.domain import commands, events, outputs
from streams.domain.commands import ChangeRuleSet, RuleSetChange, SetRuleSet
from streams.domain.correlation import Rule
from streams.domain.errors import Reason
from streams.domain.rules import DEFAULT, RuleSet
from streams.domain.state import ONLY, Head, Preferences
from tests.domain.intake import MINUTE, Intake, signal

ADA = "user:ada"
RULES = (Rule("host", 3, ("host",), 10 * MINUTE),)


def draft(intake: Intake, version: int = 3) -> None:
    result = intake.command(SetRuleSet("hosts", version, RULES, ADA, stage="shadow"))
    assert isinstance(result, outputs.CommandAccepted)


def change(intake: Intake, what: RuleSetChange, version: int = 3, name: str = "hosts") -> outputs.CommandResult:
    return intake.command(ChangeRuleSet(what, name, version, ADA))


def configured(intake: Intake) -> list[tuple[str, str, str]]:
    found = [r.event for r in intake.recorded if isinstance(r.event, events.Configured)]
    return [(event.what, event.name, event.content.get("change", "")) for event in found]


def test_a_draft_decides_nothing_until_it_is_promoted_and_can_be_gone_back_from() -> None:
    intake = Intake()
    draft(intake)
    intake.send(signal("a", host="h1"), signal("b", host="h2"))
    assert len(intake.declared()) == 1
    assert isinstance(change(intake, "promote"), outputs.CommandAccepted)
    intake.send(signal("c", host="h1"), signal("d", host="h2"))
    assert len(intake.declared()) == 3
    assert isinstance(change(intake, "roll_back"), outputs.CommandAccepted)
    intake.send(signal("e", host="h3"))
    assert len(intake.declared()) == 3
    assert configured(intake) == [
        ("shadow_rule_set", "hosts:3", ""),
        ("rule_set", "hosts:3", "promote"),
        ("rule_set", "default:1", "roll_back"),
    ]


@pytest.mark.parametrize("what", ["promote", "withdraw", "roll_back"])
def test_a_change_of_what_is_not_there_is_rejected(what: RuleSetChange) -> None:
    intake = Intake()
    for with_another in (False, True):
        if with_another:
            draft(intake, version=2)
        result = change(intake, what)
        assert isinstance(result, outputs.CommandRejected)
        assert result.reason == Reason.UNKNOWN_RULE_SET
    nothing_before = change(intake, "roll_back", 1, "default")
    assert isinstance(nothing_before, outputs.CommandRejected)


def test_a_withdrawn_draft_is_gone() -> None:
    intake = Intake()
    draft(intake)
    assert isinstance(change(intake, "withdraw"), outputs.CommandAccepted)
    assert isinstance(change(intake, "promote"), outputs.CommandRejected)
    assert configured(intake)[-1] == ("shadow_rule_set", "hosts:3", "withdraw")


def test_publishing_remembers_what_decided_before() -> None:
    intake = Intake()
    intake.command(SetRuleSet("hosts", 3, RULES, ADA))
    intake.command(SetRuleSet("hosts", 4, RULES, ADA))
    change(intake, "roll_back", 4)
    assert intake.tenant.rule_set.label == "hosts:3"


def test_a_draft_without_sense_is_rejected() -> None:
    intake = Intake()
    for bad in (
        SetRuleSet("hosts", 3, (), ADA, stage="shadow"),
        SetRuleSet("hosts", 3, (Rule("r", 1, ("host",), MINUTE, flap_changes=2),), ADA),
    ):
        assert isinstance(intake.command(bad), outputs.CommandRejected)
    assert isinstance(intake.command(commands.Release(ADA)), outputs.CommandAccepted)


def test_what_was_taken_back_decides_no_more() -> None:
    state = Intake().tenant
    mark = len(state.journal.undo)
    state.own_rules.put(ONLY, RuleSet("x", 2, (Rule("host", 2, ("host",), MINUTE, flap_changes=3, flap_window_ms=1),)))
    state.preference.put(ONLY, Preferences(auto_resolve=True))
    state.set_head(next_number=7)
    assert (state.rule_set.name, state.detects_flapping) == ("x", True)
    assert (state.preferences.auto_resolve, state.head.next_number) == (True, 7)
    state.journal.rollback(mark)
    assert (state.rule_set, state.detects_flapping) == (DEFAULT, False)
    assert (state.preferences, state.head) == (Preferences(), Head())
