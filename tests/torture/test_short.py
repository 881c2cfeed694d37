"""The short form of `incidents torture`: each kind of fault and each fail point once, and every invariant."""

from __future__ import annotations

import pytest

from infra.torture import report
from infra.torture.faults import faults
from infra.torture.plan import Plan
from infra.torture.run import torture
from tests.harness.stack import free_offset

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
SEED = 1


def test_nothing_is_lost_and_nothing_is_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INCIDENTS_PORT_OFFSET", str(free_offset("torture")))
    outcome = torture(Plan(0, SEED, at_once=9, breather_s=0.2), print)
    report.keep_if_failed(outcome)
    assert not report.violations(outcome), report.violations(outcome)
    assert {step.fault for step in outcome.steps} == {fault.name for fault in faults()}
    assert outcome.accepted > 0
