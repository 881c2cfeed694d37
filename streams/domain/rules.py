"""Rule sets: the rules of correlation, the severities and the silences of a tenant, as one versioned whole.

A condition is a text in an expression language that the core does not know; whoever runs the core gives it ``Holds``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streams.domain.correlation import DEFAULT_RULES, Rule
from streams.domain.signals import Signal

Holds = Callable[[str, Signal], bool]
"""Whether a condition holds for a signal; pure, and false where the condition cannot be evaluated for it."""


def no_conditions(condition: str, signal: Signal) -> bool:
    """For runs without an expression language: a condition is then a mistake of whoever set up the run."""
    raise NotImplementedError(f"nothing evaluates {condition!r} for {signal.title!r}")


@dataclass(frozen=True, slots=True)
class Silence:
    """Signals for which ``when`` holds are kept but begin no incident, from ``starts`` until before ``ends`` (ms)."""

    name: str
    when: str
    starts: int
    ends: int
    reason: str
    owner: str


@dataclass(frozen=True, slots=True)
class SeverityRule:
    """Signals for which ``when`` holds have this severity, whatever their provider said."""

    when: str
    severity: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What a tenant's correlation goes by."""

    name: str = "default"
    version: int = 1
    rules: tuple[Rule, ...] = DEFAULT_RULES
    severities: tuple[SeverityRule, ...] = ()
    silences: tuple[Silence, ...] = ()

    @property
    def longest_reach_ms(self) -> int:
        """How long after its last signal any window can matter."""
        return max((rule.reach_ms + rule.lateness_ms for rule in self.rules), default=0)


DEFAULT = RuleSet()


def severity_of(rule_set: RuleSet, signal: Signal, holds: Holds) -> str:
    """The severity of a signal under a rule set: that of the first severity rule that holds, else its own."""
    for rule in rule_set.severities:
        if holds(rule.when, signal):
            return rule.severity
    return signal.severity


def silence_of(rule_set: RuleSet, signal: Signal, now: int, holds: Holds) -> Silence | None:
    """The silence that a signal falls under at a recorded time, or none."""
    for silence in rule_set.silences:
        if silence.starts <= now < silence.ends and holds(silence.when, signal):
            return silence
    return None
