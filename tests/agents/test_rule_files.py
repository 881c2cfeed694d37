"""Rule files: what is wrong is named with its line, and their own tests are run by the real decider."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.agents import state_codec
from streams.agents.rule_files import BadRules, duration, parse
from streams.agents.rule_tests import failed
from streams.codec import avro
from streams.domain.catalogue import TYPE_OF

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules.yaml"


def test_the_example_passes_its_own_tests() -> None:
    found = parse(EXAMPLE.read_text())
    assert len(found.tests) == 5
    assert failed(found) == []


def test_a_rule_set_survives_the_intake_and_the_state() -> None:
    found = parse(EXAMPLE.read_text())
    command = found.command("user:ada")
    value, uri = avro.encode(command)
    assert avro.decode(TYPE_OF[type(command)], uri, value) == command
    assert state_codec.decode("rule_set", state_codec.encode("rule_set", found.rule_set)) == found.rule_set


def test_a_test_that_expects_something_else_fails() -> None:
    text = EXAMPLE.read_text()
    assert failed(parse(text.replace("expect: [[x]]", "expect: [[w, x]]"))) == ["the watchdog begins no incident"]
    assert failed(parse(text.replace("families: [[p, c]]", "families: [[c, p]]"))) == ["payments is the cause"]
    assert failed(parse(text.replace("families: [[p, c]]", "families: []"))) == ["payments is the cause"]


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
        ("families: [[p, c]]", "families: [[p, y]]", "tests.4.families.0: no signal y"),
        ("BYDAY=SU", "BYDAY=1SU", "silences.1.schedule: numbered days are for FREQ=MONTHLY"),
        ("Europe/Berlin", "Europe/Atlantis", "silences.1.schedule: 'Europe/Atlantis' is no IANA time zone"),
        ("duration: 2h", "duration: 0m", "silences.1.schedule: a window is longer than nothing"),
        ('at: "02:00"', 'at: "25:00"', "silences.1.schedule.at: '25:00' does not match"),
        ("checkout: [payments]", "checkout: [checkout]", "families.services.checkout: a service does not depend on"),
        ("changes: 4, window: 30m", "changes: 4, window: 0m", "rules.1.flapping.window: a window is longer"),
        ("changes: 4, window: 30m", "changes: 1, window: 30m", "rules.1.flapping.changes: 1 is less than"),
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
