"""Which signals belong together: rules, keys and windows.

A signal has exactly one correlation key, that of the first rule that applies, and windows are laid over the provider's
own clock: so the grouping does not depend on the order of arrival, as long as signals are late by at most the rule's
``lateness_ms`` and no growth limit cuts in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Literal, NamedTuple

from streams.domain.records import dataclass
from streams.domain.signals import Signal

MINUTE_MS = 60_000
DAY_MS = 86_400_000


Action = Literal["incident", "record"]
Stops = Literal["incidents", "effects"]

FIELDS = frozenset(
    {
        "title",
        "severity",
        "service",
        "host",
        "error_type",
        "rule",
        "kind",
        "connector",
        "integration_id",
        "fingerprint",
    }
)
"""Attributes of a signal that rules may name; beside them, ``labels.<name>``."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: signals of ``kind`` for which ``when`` holds are grouped by ``key_fields`` within ``window_ms``.

    A field is an attribute of ``Signal`` or ``labels.<name>``; an empty ``when`` always holds. One incident takes at
    most ``max_alerts`` alerts and spans at most ``max_age_ms``; what comes after opens its continuation. The action
    ``record`` keeps the signals without an incident. ``auto_resolve`` resolves an incident with its last alert.

    An alert that changes between firing and resolved more than ``flap_changes`` times (0: never) within
    ``flap_window_ms`` is flapping, and ``flap_stops`` says what it no longer causes (see ``flapping``).
    """

    name: str
    version: int
    key_fields: tuple[str, ...]
    window_ms: int
    kind: str = "alert"
    when: str = ""
    lateness_ms: int = 5 * MINUTE_MS
    max_age_ms: int = DAY_MS
    max_alerts: int = 5_000
    action: Action = "incident"
    auto_resolve: bool = False
    flap_changes: int = 0
    flap_window_ms: int = 0
    flap_stops: tuple[Stops, ...] = ()

    def __post_init__(self) -> None:
        """Put the key fields in one order, so that a key does not depend on how they were listed."""
        object.__setattr__(self, "key_fields", tuple(sorted(self.key_fields)))

    @property
    def reach_ms(self) -> int:
        """How far from a window's edge a signal may be to belong to it."""
        return self.window_ms + self.lateness_ms


DEFAULT_RULES: tuple[Rule, ...] = (
    Rule("service-error", 1, ("service", "error_type"), 10 * MINUTE_MS),
    Rule("rule-host", 1, ("rule", "host"), 10 * MINUTE_MS),
    Rule("report-service", 1, ("service",), 30 * MINUTE_MS, kind="report"),
)


class Window(NamedTuple):
    """An incident's place on the time line of one correlation key.

    ``first`` and ``last`` are event times; ``touched`` is the recorded time of the last signal that it took.
    """

    incident_id: str
    first: int
    last: int
    touched: int

    def distance(self, at: int) -> int:
        """How far an event time lies outside the window, 0 inside."""
        return max(self.first - at, at - self.last, 0)


@dataclass(frozen=True, slots=True)
class Match:
    """Why a signal is grouped as it is."""

    rule: Rule
    key: str


@lru_cache(maxsize=1024)
def reading(name: str) -> Callable[[Signal], str]:
    """What reads a field that rules may name from a signal; it gives an empty text where the signal has none."""
    if name in FIELDS:
        return attrgetter(name)
    label = name.removeprefix("labels.")
    return (lambda signal: signal.labels.get(label, "")) if label != name else lambda _: ""


@lru_cache(maxsize=1024)
def _reading_all(names: tuple[str, ...]) -> tuple[Callable[[Signal], str], ...]:
    return tuple(map(reading, names))


def match(rules: Sequence[Rule], signal: Signal, holds: Callable[[str, Signal], bool]) -> Match | None:
    """The first rule that applies, with the signal's key under it; none when no rule does.

    ``holds`` evaluates conditions (``rules.Holds``).
    """
    for rule in rules:
        if rule.kind != signal.kind:
            continue
        values = [read(signal) for read in _reading_all(rule.key_fields)]
        if all(values) and (not rule.when or holds(rule.when, signal)):
            return Match(rule, correlation_key(rule.name, rule.version, *values))
    return None


@lru_cache(maxsize=8192)
def correlation_key(rule: str, version: int, *values: str) -> str:
    """``<rule>:<version>:<digest>`` of the values of the rule's key fields, in the order of the fields' names."""
    digest = blake2b("".join([f"{len(value)}:{value}" for value in values]).encode(), digest_size=8).hexdigest()
    return f"{rule}:{version}:{digest}"


def reachable(windows: Sequence[Window], at: int, rule: Rule) -> list[Window]:
    """The windows within reach of an event time: the nearest first, of two as near the earlier."""
    reach = rule.reach_ms
    found = [window for window in windows if window.first - reach <= at <= window.last + reach]
    return sorted(found, key=lambda window: (window.distance(at), window.first)) if len(found) > 1 else found


def is_full(window: Window, at: int, alert_count: int, rule: Rule) -> bool:
    """Whether a growth limit keeps the window's incident from taking a signal of this event time."""
    return alert_count >= rule.max_alerts or max(window.last, at) - min(window.first, at) > rule.max_age_ms


def expires(window: Window, rule: Rule) -> int:
    """The recorded time after which no signal that is on time can reach the window any more."""
    return window.touched + rule.reach_ms + rule.lateness_ms
