"""Rule sets: the rules of correlation, the severities and the silences of a tenant, as one versioned whole.

A condition is a text in an expression language that the core does not know; whoever runs the core gives it ``Holds``.
"""

from __future__ import annotations

from bisect import bisect_right
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
class Span:
    """A time span in milliseconds: from ``starts`` until before ``ends``."""

    starts: int
    ends: int


@dataclass(frozen=True, slots=True)
class Silence:
    """Signals for which ``when`` holds are kept but begin no incident, from ``starts`` until before ``ends`` (ms).

    One with a ``schedule`` (for people) holds only within ``windows``, which do not overlap and are in order: whoever
    publishes it works them out, so that no time zone's rules have a part in the decision.
    """

    name: str
    when: str
    starts: int
    ends: int
    reason: str
    owner: str
    schedule: str = ""
    windows: tuple[Span, ...] = ()

    def covers(self, now: int) -> bool:
        """Whether the silence holds at a recorded time."""
        if not self.starts <= now < self.ends or not self.schedule:
            return self.starts <= now < self.ends
        place = bisect_right(self.windows, now, key=lambda window: window.starts) - 1
        return place >= 0 and now < self.windows[place].ends


@dataclass(frozen=True, slots=True)
class Dependency:
    """``service`` depends on ``on``: an edge of the service graph."""

    service: str
    on: str


@dataclass(frozen=True, slots=True)
class SeverityRule:
    """Signals for which ``when`` holds have this severity, whatever their provider said."""

    when: str
    severity: str


@dataclass(frozen=True, slots=True)
class RuleSet:
    """What a tenant's correlation goes by.

    Incidents of services that depend on each other (``dependencies``, over at most ``family_depth`` steps) whose
    signals are at most ``family_window_ms`` apart (0: none are) are linked as cause and effect.
    """

    name: str = "default"
    version: int = 1
    rules: tuple[Rule, ...] = DEFAULT_RULES
    severities: tuple[SeverityRule, ...] = ()
    silences: tuple[Silence, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    family_window_ms: int = 0
    family_depth: int = 2

    @property
    def label(self) -> str:
        """Name and version."""
        return f"{self.name}:{self.version}"

    @property
    def detects_flapping(self) -> bool:
        """Whether any rule does."""
        return any(rule.flap_changes for rule in self.rules)

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
        if silence.covers(now) and holds(silence.when, signal):
            return silence
    return None
