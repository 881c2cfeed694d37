"""The delivery protocol, every state of it: what can die between which two steps, and that nothing is lost or doubled.

Models, not the code: what ties them to it is that each step is a fail point (``infra/torture/failpoints.py``), so that
the torture run takes the same paths in real processes. ``docs/delivery.md`` is the argument in words.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.model.accepting import Accepting
from tests.model.deciding import Deciding
from tests.model.dispatching import Dispatching
from tests.model.explorer import Explored, explore
from tests.model.following import Following
from tests.model.projecting import Projecting

WHOLE = (
    Accepting(),
    Deciding(),
    Projecting(),
    Dispatching(),
    Dispatching(freezes=2, freezes_while_sending=False),
    Dispatching(keyed=True, freezes=2),
    Following(),
)
MISSING = (
    (Accepting(answers_after_acknowledgement=False), "accepted and lost"),
    (Accepting(deduplicates=False), "two dispositions"),
    (Deciding(fences=False), "sequences"),
    (Deciding(fences_before_restoring=False), "sequences"),
    (Deciding(position_with_outputs=False), "records"),
    (Deciding(state_with_outputs=False), "sequences"),
    (Projecting(checks_epoch=False, checks_position=False), "rows"),
    (Projecting(checks_position=False, looks_after_lost_commit=False), "rows"),
    (Projecting(one_transaction=False), "rows"),
    (Projecting(reads_committed=False), "rows"),
    (Dispatching(checks_lease=False), "carried out twice"),
    (Dispatching(counts_attempt_first=False), "carried out twice"),
    (Dispatching(looks_first=False), "carried out twice"),
    (Dispatching(freezes=1, freezes_while_sending=False, checks_lease_before_sending=False), "carried out twice"),
    (Dispatching(reports_before_marking=False), "closed and never reported"),
    (Following(subscribes_before_looking=False), "saw"),
    (Following(drops_overlap=False), "saw"),
    (Following(holds_until_stored=False), "reads do not show"),
    (Following(resumes_at_cursor=False), "saw"),
)


def found(model: Any) -> Explored:
    """The exploration of a model of any kind of state."""
    return explore(model)


@pytest.mark.parametrize("model", WHOLE, ids=repr)
def test_with_all_guards_no_crash_loses_or_repeats_anything(model: object) -> None:
    explored = found(model)
    assert (explored.violation, explored.trace) == ("", ())
    assert explored.states > 20, "a model that goes nowhere proves nothing"


@pytest.mark.parametrize(("model", "violation"), MISSING, ids=lambda one: one if isinstance(one, str) else repr(one))
def test_without_a_guard_a_promise_is_broken(model: object, violation: str) -> None:
    explored = found(model)
    assert violation in explored.violation, explored
    assert explored.trace


def test_a_dispatcher_frozen_between_its_last_look_at_the_lease_and_sending_can_repeat_what_has_no_key() -> None:
    """The one case that the product does not promise (R7): it is found by its marker and counted apart."""
    explored = found(Dispatching(freezes=1))
    assert explored.violation == "carried out twice"
    frozen = explored.trace.index("dispatcher 0: freezes")
    assert explored.trace[frozen - 1] == "dispatcher 0: finds its lease good"


def test_a_projector_is_safe_with_either_of_its_two_guards() -> None:
    """The epoch and the expected position each keep a woken projector out; a lost commit needs a look or a position."""
    for one in (
        Projecting(checks_epoch=False),
        Projecting(checks_position=False),
        Projecting(looks_after_lost_commit=False),
    ):
        assert found(one).violation == ""


def test_the_explorer_sees_a_dead_end() -> None:
    class DeadEnd:
        def initial(self) -> int:
            return 0

        def steps(self, state: int) -> Any:
            return iter([("left", 1), ("right", 2)] if state == 0 else [])

        def wrong(self, state: int) -> str:
            return "" if state < 9 else "too far"

        def is_done(self, state: int) -> bool:
            return state == 2

    assert found(DeadEnd()) == Explored(3, "the work can no longer be done", ("left",))
