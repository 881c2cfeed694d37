"""Conditions see the attributes that they name, and the same values give the same answer."""

from __future__ import annotations

import pytest

from streams.agents.conditions import BadCondition, check, holds
from streams.domain.signals import Signal

SIGNAL = Signal("Disk is full", severity="SEV-2", service="checkout", labels={"team": "shop", "zone": "a"})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('severity <= "SEV-3"', True),
        ('severity == "SEV-1"', False),
        ('title.contains("Disk") && service == "checkout"', True),
        ('labels.team == "shop"', True),
        ("has(labels.team) && !has(labels.tier)", True),
        ('labels.exists(name, name == "zone" && labels[name] == "a")', True),
        ('["title"].exists(title, title == "title")', True),
        ('labels.tier == "gold"', False),
        ("no_such_attribute == 1", False),
        ("severity ==", False),
    ],
)
def test_a_condition_holds_or_does_not(condition: str, *, expected: bool) -> None:
    assert holds(condition, SIGNAL) is expected
    assert holds(condition, SIGNAL) is expected, "asked again"


def test_the_same_condition_is_answered_for_each_signal() -> None:
    condition = 'labels.team == "shop" && service == "checkout"'
    others = [
        Signal("Disk is full", service="search", labels=SIGNAL.labels),
        Signal("Disk is full", service="checkout", labels={"team": "search"}),
        Signal("Disk is full", service="checkout"),
    ]
    assert [holds(condition, one) for one in [SIGNAL, *others, SIGNAL]] == [True, False, False, False, True]


@pytest.mark.parametrize("condition", ["severity ==", "no_such_attribute == 1", "title"])
def test_a_condition_that_no_signal_could_satisfy_is_refused(condition: str) -> None:
    with pytest.raises(BadCondition):
        check(condition)
