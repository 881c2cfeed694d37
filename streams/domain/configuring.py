"""A tenant's configuration: commands to items of its state, and to the event that records the change.

Of rule sets there are up to three: the one that decides, the draft that runs in its shadow, and the one before.
"""

from __future__ import annotations

from typing import assert_never

from streams.domain import commands, events
from streams.domain.commands import ApplyRules, ChangeRuleSet, SetRuleSet
from streams.domain.describing import described
from streams.domain.errors import Reason, Rejected
from streams.domain.rules import RuleSet
from streams.domain.signals import SEVERITIES
from streams.domain.state import ONLY, PREVIOUS, SHADOW, Preferences, Subscription, TenantState

RULE_SET, SHADOW_RULE_SET, RULE_APPLICATION = "rule_set", "shadow_rule_set", "rule_application"
"""``Configured.what`` for a change of the rules that decide, of the draft, and for rules applied to what was."""

Configuration = commands.SetSubscription | SetRuleSet | ChangeRuleSet | ApplyRules | commands.SetPreferences


def configure(state: TenantState, command: Configuration) -> events.Configured:
    """Change the configuration; raises ``Rejected`` for what makes no sense or is not there."""
    match command:
        case commands.SetSubscription():
            name, actions = command.subscription_id, tuple(sorted(command.actions.items()))
            if command.active:
                item = Subscription(name, command.connector, command.integration_id, actions)
                state.subscriptions.put(name, item)
            else:
                state.subscriptions.drop(name)
            return events.Configured("subscription", name, command.actor, described(command))
        case SetRuleSet():
            return _set_rules(state, command)
        case ChangeRuleSet():
            return _change_rules(state, command)
        case ApplyRules():
            label = f"{command.name}:{command.version}"
            check_deciding(state, label)
            return events.Configured(RULE_APPLICATION, label, command.actor, described(command))
        case commands.SetPreferences():
            preferences = Preferences(command.auto_resolve, command.close_after_ms, command.archive_after_ms)
            state.preference.put(ONLY, preferences)
            return events.Configured("preferences", "preferences", command.actor, described(command))
        case _:
            assert_never(command)


def check_deciding(state: TenantState, label: str) -> None:
    """Raise ``Rejected`` for a rule set (name and version) that is not the one that decides."""
    if label != state.rule_set.label:
        raise Rejected(Reason.UNKNOWN_RULE_SET, f"{label} does not decide, {state.rule_set.label} does")


def _set_rules(state: TenantState, command: SetRuleSet) -> events.Configured:
    found = rules_of(command)
    if command.stage == "shadow":
        state.own_rules.put(SHADOW, found)
        return events.Configured(SHADOW_RULE_SET, found.label, command.actor, described(command))
    _go_by(state, found)
    return events.Configured(RULE_SET, found.label, command.actor, described(command))


def _change_rules(state: TenantState, command: ChangeRuleSet) -> events.Configured:
    wanted = f"{command.name}:{command.version}"
    shadow, former = state.own_rules.get(SHADOW), state.own_rules.get(PREVIOUS)
    match command.change:
        case "promote" | "withdraw":
            if shadow is None or shadow.label != wanted:
                there = f"the draft is {shadow.label}" if shadow else "there is no draft"
                raise Rejected(Reason.UNKNOWN_RULE_SET, f"{wanted} runs in no shadow: {there}")
            state.own_rules.drop(SHADOW)
            if command.change == "withdraw":
                return events.Configured(SHADOW_RULE_SET, wanted, command.actor, {"change": command.change})
            found = shadow
            content = {"change": command.change, "former": state.rule_set.label}
            _go_by(state, found)
        case "roll_back":
            check_deciding(state, wanted)
            if former is None:
                raise Rejected(Reason.UNKNOWN_RULE_SET, f"there was no rule set before {wanted}")
            found = former
            content = {"change": command.change, "former": wanted}
            state.own_rules.put(ONLY, found)
            state.own_rules.drop(PREVIOUS)
        case _:
            assert_never(command.change)
    described_rules = described(command_of(found, command.actor))
    return events.Configured(RULE_SET, found.label, command.actor, described_rules | content)


def _go_by(state: TenantState, rule_set: RuleSet) -> None:
    """Let a rule set decide from now on; the one that did can be gone back to."""
    state.own_rules.put(PREVIOUS, state.rule_set)
    state.own_rules.put(ONLY, rule_set)


def rules_of(command: SetRuleSet) -> RuleSet:
    """The rule set that a command brings; raises ``Rejected`` for one without sense."""
    if not command.rules:
        raise Rejected(Reason.EMPTY_VALUE, "a rule set needs rules")
    for rule in command.rules:
        if not rule.key_fields or rule.window_ms <= 0 or rule.max_alerts <= 0 or rule.max_age_ms <= 0:
            raise Rejected(Reason.EMPTY_VALUE, f"rule {rule.name!r} needs key fields, a window and limits")
        if rule.flap_changes < 0 or (rule.flap_changes and rule.flap_window_ms <= 0):
            raise Rejected(Reason.EMPTY_VALUE, f"rule {rule.name!r} needs a window in which an alert is flapping")
    for entry in command.severities:
        if entry.severity not in SEVERITIES:
            raise Rejected(Reason.UNKNOWN_SEVERITY, f"{entry.severity!r} is none of {', '.join(SEVERITIES)}")
    for silence in command.silences:
        ends = [edge for window in silence.windows for edge in (window.starts, window.ends)]
        if ends != sorted(ends):
            raise Rejected(Reason.EMPTY_VALUE, f"the windows of silence {silence.name!r} are not in order")
    return RuleSet(
        command.name,
        command.version,
        command.rules,
        command.severities,
        command.silences,
        command.dependencies,
        command.family_window_ms,
        command.family_depth,
    )


def command_of(rule_set: RuleSet, actor: str) -> SetRuleSet:
    """The command that brings a rule set: the inverse of ``rules_of``."""
    return SetRuleSet(
        name=rule_set.name,
        version=rule_set.version,
        rules=rule_set.rules,
        actor=actor,
        severities=rule_set.severities,
        silences=rule_set.silences,
        dependencies=rule_set.dependencies,
        family_window_ms=rule_set.family_window_ms,
        family_depth=rule_set.family_depth,
    )
