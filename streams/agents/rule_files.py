"""Rule sets as files: YAML, checked against ``schemas/rule_set.schema.json``, with their tests in the file itself."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import yaml
from jsonschema import Draft202012Validator

import schemas
from streams.agents import conditions, schedules
from streams.domain import commands
from streams.domain.configuring import command_of
from streams.domain.correlation import FIELDS, Rule
from streams.domain.envelope import milliseconds
from streams.domain.errors import IncidentsError
from streams.domain.rules import Dependency, RuleSet, SeverityRule, Silence
from streams.domain.signals import Signal

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d)")
EPOCH = 1_780_000_000_000
"""Recorded time at which a test begins."""


class BadRules(IncidentsError):  # noqa: N818
    """A rule file is wrong; ``problems`` are lines for people, each with the line of the file and the reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class RuleTest:
    """Signals and the groups that they are expected to form."""

    name: str
    signals: tuple[tuple[str, int, Signal], ...]
    expect: frozenset[frozenset[str]]
    families: frozenset[tuple[str, str]] | None = None
    """Pairs of signals, of the cause's incident and of the effect's; none where the test does not look."""


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A rule set with its tests."""

    rule_set: RuleSet
    tests: tuple[RuleTest, ...]

    def command(self, actor: str, stage: commands.Stage = "active") -> commands.SetRuleSet:
        """The command that publishes it."""
        return dataclasses.replace(command_of(self.rule_set, actor), stage=stage)


def parse(text: str) -> RuleFile:
    """The rule set of a file's text; raises ``BadRules`` with every problem that was found."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadRules([f"line {line}: {error.problem}"]) from error
    problems = [
        f"line {_line(node, error.absolute_path)}: {'.'.join(map(str, error.absolute_path)) or 'file'}: {error.message}"
        for error in sorted(_validator().iter_errors(document), key=lambda e: list(map(str, e.absolute_path)))
    ]
    if not problems:
        problems = [f"line {_line(node, path)}: {'.'.join(map(str, path))}: {why}" for path, why in _wrong(document)]
    if problems:
        raise BadRules(problems)
    return RuleFile(_rule_set(document), tuple(map(_test, document.get("tests", ()))))


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(schemas.rule_set_schema()))


def _line(node: yaml.Node | None, path: Sequence[str | int]) -> int:
    """The line of the file at which the value of a path stands, as near as there is one."""
    for step in path:
        following: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            following = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            following = node.value[step]
        if following is None:
            break
        node = following
    return node.start_mark.line + 1 if node is not None else 1


_Problem = tuple[list[str | int], str]


def _wrong(document: Mapping[str, Any]) -> Iterator[_Problem]:
    """What the schema cannot say: conditions, key fields, names, times, ids."""
    for where in ("rules", "silences", "severities"):
        for index, entry in enumerate(document.get(where, ())):
            if "when" in entry:
                try:
                    conditions.check(entry["when"])
                except conditions.BadCondition as error:
                    yield [where, index, "when"], str(error)
    yield from _wrong_rules(document["rules"])
    for index, silence in enumerate(document.get("silences", ())):
        for name, why in _wrong_times(silence):
            yield ["silences", index, name], why
    for service, others in document.get("families", {}).get("services", {}).items():
        if service in others:
            yield ["families", "services", service], "a service does not depend on itself"
    yield from _wrong_tests(document.get("tests", ()))


def _wrong_tests(tests: Sequence[Mapping[str, Any]]) -> Iterator[_Problem]:
    for index, test in enumerate(tests):
        ids = {entry["id"] for entry in test["signals"]}
        for place, entry in enumerate(test["signals"]):
            if "time" in entry and (why := _wrong_time(entry["time"])):
                yield ["tests", index, "signals", place, "time"], why
        for where in ("expect", "families"):
            for place, group in enumerate(test.get(where, ())):
                if unknown := set(group) - ids:
                    yield ["tests", index, where, place], f"no signal {', '.join(sorted(unknown))}"


def _wrong_rules(rules: Sequence[Mapping[str, Any]]) -> Iterator[_Problem]:
    names = Counter(rule["name"] for rule in rules)
    for index, rule in enumerate(rules):
        if names[rule["name"]] > 1:
            yield ["rules", index, "name"], f"{rule['name']!r} is used twice"
        for place, field in enumerate(rule["key"]):
            if field not in FIELDS and not field.startswith("labels."):
                yield ["rules", index, "key", place], f"{field!r} is none of {', '.join(sorted(FIELDS))}, labels.<name>"
        if not duration(rule["window"]):
            yield ["rules", index, "window"], "a window is longer than nothing"
        if "flapping" in rule and not duration(rule["flapping"]["window"]):
            yield ["rules", index, "flapping", "window"], "a window is longer than nothing"


def _wrong_times(silence: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    wrong = {name: why for name in ("from", "until") if (why := _wrong_time(silence[name]))}
    yield from wrong.items()
    if wrong:
        return
    starts, ends = milliseconds(silence["from"]), milliseconds(silence["until"])
    if ends <= starts:
        yield "until", "ends before it begins"
    elif "schedule" in silence:
        try:
            schedules.windows(_schedule(silence["schedule"]), starts, ends)
        except schedules.BadSchedule as error:
            yield "schedule", str(error)


def _wrong_time(text: str) -> str:
    try:
        milliseconds(text)
    except ValueError:
        return f"{text!r} is no RFC 3339 time"
    return ""


def duration(text: str) -> int:
    """Milliseconds of a duration such as ``10m``; raises ``ValueError`` for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    return int(found[1]) * _UNITS[found[2]]


def _rule_set(document: Mapping[str, Any]) -> RuleSet:
    return RuleSet(
        name=document["name"],
        version=document["version"],
        rules=tuple(_rule(rule, document["version"]) for rule in document["rules"]),
        severities=tuple(SeverityRule(e["when"], e["severity"]) for e in document.get("severities", ())),
        silences=tuple(map(_silence, document.get("silences", ()))),
        **_families(document["families"]) if "families" in document else {},
    )


def _silence(silence: Mapping[str, Any]) -> Silence:
    starts, ends = milliseconds(silence["from"]), milliseconds(silence["until"])
    found = Silence(silence["name"], silence["when"], starts, ends, silence["reason"], silence["owner"])
    if "schedule" not in silence:
        return found
    schedule = _schedule(silence["schedule"])
    return dataclasses.replace(found, schedule=str(schedule), windows=schedules.windows(schedule, starts, ends))


def _schedule(entry: Mapping[str, str]) -> schedules.Schedule:
    return schedules.Schedule(entry["rrule"], entry["at"], duration(entry["duration"]), entry["time_zone"])


def _families(families: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a rule set that say how families are found."""
    return {
        "dependencies": tuple(Dependency(s, on) for s, others in families["services"].items() for on in others),
        "family_window_ms": duration(families["window"]),
        "family_depth": families.get("depth", 2),
    }


def _rule(rule: Mapping[str, Any], version: int) -> Rule:
    limits, flapping = rule.get("limits", {}), rule.get("flapping", {})
    return Rule(
        name=rule["name"],
        version=rule.get("version", version),
        key_fields=tuple(rule["key"]),
        window_ms=duration(rule["window"]),
        kind=rule.get("kind", "alert"),
        when=rule.get("when", ""),
        lateness_ms=duration(rule.get("lateness", "5m")),
        max_age_ms=duration(limits.get("age", "24h")),
        max_alerts=limits.get("alerts", 5_000),
        action=rule.get("action", "incident"),
        auto_resolve=rule.get("auto_resolve", False),
        flap_changes=flapping.get("changes", 0),
        flap_window_ms=duration(flapping.get("window", "0s")),
        flap_stops=tuple(flapping.get("stops", ())),
    )


def _test(test: Mapping[str, Any]) -> RuleTest:
    signals = []
    for entry in test["signals"]:
        fields = {name: value for name, value in entry.items() if name not in {"id", "at", "time"}}
        at = milliseconds(entry["time"]) - EPOCH if "time" in entry else duration(entry.get("at", "0s"))
        signals.append((entry["id"], at, Signal(**{"title": entry["id"], **fields, "event_time": EPOCH + at})))
    pairs = frozenset((cause, effect) for cause, effect in test["families"]) if "families" in test else None
    return RuleTest(test["name"], tuple(signals), frozenset(frozenset(group) for group in test["expect"]), pairs)


def differences(old: RuleSet, new: RuleSet) -> list[dict[str, str]]:
    """What differs between two rule sets, an entry each: ``what``, ``name``, ``change`` and ``detail``."""
    found = []
    for what, before, after in (
        ("rule", {r.name: r for r in old.rules}, {r.name: r for r in new.rules}),
        ("silence", {s.name: s for s in old.silences}, {s.name: s for s in new.silences}),
        ("severity", {s.when: s for s in old.severities}, {s.when: s for s in new.severities}),
        ("dependency", _by_edge(old), _by_edge(new)),
    ):
        for name in dict.fromkeys((*before, *after)):
            one, other = before.get(name), after.get(name)
            if one == other:
                continue
            change = "changed" if one and other else "added" if other else "removed"
            detail = "; ".join(_fields_that_differ(one, other)) if one and other else ""
            found.append({"what": what, "name": name, "change": change, "detail": detail})
    limits = [(one.family_window_ms, one.family_depth) for one in (old, new)]
    if limits[0] != limits[1]:
        detail = "; ".join(f"window {window} ms, depth {depth}" for window, depth in limits)
        found.append({"what": "families", "name": "", "change": "changed", "detail": detail})
    orders = [[rule.name for rule in rule_set.rules] for rule_set in (old, new)]
    shared = set(orders[0]) & set(orders[1])
    if [n for n in orders[0] if n in shared] != [n for n in orders[1] if n in shared]:
        found.append({"what": "rules", "name": "", "change": "reordered", "detail": " > ".join(orders[1])})
    return found


def _by_edge(rule_set: RuleSet) -> dict[str, Dependency]:
    return {f"{one.service} on {one.on}": one for one in rule_set.dependencies}


def _fields_that_differ(one: object, other: object) -> Iterator[str]:
    for field in dataclasses.fields(one):  # type: ignore[arg-type]  # both are records
        before, after = getattr(one, field.name), getattr(other, field.name)
        if before != after:
            yield f"{field.name}: {before} to {after}"
