"""What a report says to type is what was run."""

from __future__ import annotations

import pytest

from infra.torture.plan import Plan
from infra.torture.report import command


@pytest.mark.parametrize(
    ("plan", "typed"),
    [
        (Plan(0, 7), "incidents torture --seed 7"),
        (Plan(44, 51, only="kill"), "incidents torture --seed 51 --steps 44 --only kill"),
        (Plan(1, 2, only="pause api", rate=2.5), "incidents torture --seed 2 --steps 1 --only 'pause api' --rate 2.5"),
        (
            Plan(0, 3, brokers=3, at_once=9, scenarios=("overload",), minutes=0.5),
            "incidents torture --seed 3 --at-once 9 --brokers 3 --minutes 0.5 --scenario overload",
        ),
    ],
)
def test_the_command_has_everything_that_is_not_the_default(plan: Plan, typed: str) -> None:
    assert command(plan) == typed
