"""Rule files: what is wrong is named with its line, and their own tests are run by the real decider."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.agents import state_codec
from streams.agents.rule_files import BadRules, duration, parse, run_test
from streams.codec import avro
from streams.domain.catalogue import TYPE_OF

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules.yaml"


def test_the_example_passes_its_own_tests() -> None:
    found = parse(EXAMPLE.read_text())
    assert len(found.tests) == 2
    for test in found.tests:
        assert run_test(found.rule_set, test) == test.expect, test.name


def test_a_rule_set_survives_the_intake_and_the_state() -> None:
    found = parse(EXAMPLE.read_text())
    command = found.command("user:ada")
    value, uri = avro.encode(command)
    assert avro.decode(TYPE_OF[type(command)], uri, value) == command
    assert state_codec.decode("rule_set", state_codec.encode("rule_set", found.rule_set)) == found.rule_set


def test_a_test_that_expects_something_else_fails() -> None:
    found = parse(EXAMPLE.read_text().replace("expect: [[x]]", "expect: [[w, x]]"))
    assert run_test(found.rule_set, found.tests[1]) != found.tests[1].expect


@pytest.mark.parametrize(
    ("change", "into", "problem"),
    [
        ("window: 20m", "window: soon", "line 16: rules.1.window: 'soon' does not match"),
        ("window: 20m", "window: 0m", "line 16: rules.1.window: a window is longer than nothing"),
        ("key: [rule, host]", "key: [rule, hots]", "rules.2.key.1: 'hots' is none of"),
        ("name: rule-host", "name: service-team", "'service-team' is used twice"),
        ("severity <= \"SEV-3\"'", "severity <='", "rules.1.when: Failed to parse"),
        ("severity <= \"SEV-3\"'", "severty == 1'", "rules.1.when: Undefined variable"),
        ("severity <= \"SEV-3\"'", "service'", "rules.1.when: gives 'checkout'"[:20]),
        ("severity: SEV-1}\n\nrules", "severity: worst}\n\nrules", "severities.0.severity: 'worst' is not one of"),
        ('until: "2026-11-22T11', 'until: "2026-11-22T09', "silences.0.until: ends before it begins"),
        ('until: "2026-11-22T11:00:00Z"', "until: tomorrow", "silences.0.until: 'tomorrow' is no RFC 3339 time"),
        ("expect: [[x]]", "expect: [[y]]", "tests.1.expect.0: no signal y"),
        ("version: 2", "version: 2\nextra: 1", "'extra' was unexpected"),
        ("name: shop", "name: [shop", "line 3"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_its_line(change: str, into: str, problem: str) -> None:
    text = EXAMPLE.read_text()
    assert change in text
    with pytest.raises(BadRules) as error:
        parse(text.replace(change, into, 1))
    assert problem in "\n".join(error.value.problems)
    assert error.value.problems[0].startswith("line ")


def test_durations() -> None:
    assert [duration(text) for text in ("250ms", "3s", "10m", "2h", "1d")] == [
        250,
        3000,
        600_000,
        7_200_000,
        86_400_000,
    ]
    with pytest.raises(ValueError, match="no duration"):
        duration("10")
