"""The state machine: Hypothesis chooses what happens and in which order, and shrinks what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from connectors.kit.tickets import Versioning
from streams.domain.mapping import OWNERS, POLICIES, Owner, Policy
from tests.sync.checks import violations
from tests.sync.provider import FIELDS, Provider
from tests.sync.world import World, mapping

PLACE = st.integers(0, 9)
SIMPLE: Sequence[Any] = [policy for policy in POLICIES if policy != "state_machine"]
CHOICE = st.tuples(st.sampled_from(OWNERS), st.sampled_from(SIMPLE))
STATUS_CHOICE = st.tuples(st.sampled_from(OWNERS), st.sampled_from(["state_machine", *POLICIES]))
REWRITES: Sequence[dict[str, str]] = ({}, {"urgency=2": "3"}, {"urgency=1": "2", "urgency=2": "1"})
SKEWS = (0, -90_000, 90_000, 600_000)


class SyncMachine(RuleBasedStateMachine):
    """Both sides, and everything between them; what has to hold at rest is checked at the end."""

    world: World

    @initialize(
        versioning=st.sampled_from(get_args(Versioning)),
        skew=st.sampled_from(SKEWS),
        rewrites=st.sampled_from(REWRITES),
        title=CHOICE,
        severity=CHOICE,
        status=STATUS_CHOICE,
        assignee=CHOICE,
    )
    def begin(
        self,
        versioning: Versioning,
        skew: int,
        rewrites: dict[str, str],
        title: tuple[Owner, Policy],
        severity: tuple[Owner, Policy],
        status: tuple[Owner, Policy],
        assignee: tuple[Owner, Policy],
    ) -> None:
        """Any provider, any mapping."""
        provider = Provider(versioning, skew=skew, rewrites=rewrites)
        self.world = World(provider, mapping(title, severity, status, assignee))

    @rule(place=PLACE, name=st.sampled_from(["title", "severity", "status", "assignee"]), choice=PLACE)
    def edit_ours(self, place: int, name: str, choice: int) -> None:
        """A person edits an incident."""
        self.world.edit_ours(place, name, choice)

    @rule(place=PLACE, name=st.sampled_from(FIELDS), choice=PLACE)
    def edit_theirs(self, place: int, name: str, choice: int) -> None:
        """A person edits a ticket."""
        self.world.edit_theirs(place, name, choice)

    @rule(place=PLACE, times=st.integers(1, 4))
    def step(self, place: int, times: int) -> None:
        """The dispatcher goes on with an intent."""
        for _ in range(times):
            self.world.step(place)

    @rule(place=PLACE, after_report=st.booleans())
    def crash(self, place: int, after_report: bool) -> None:  # noqa: FBT001  a strategy's value
        """The dispatcher dies, in a call or just after it has reported."""
        if after_report:
            self.world.crash_after_report(place)
        else:
            self.world.crash(place)

    @rule(place=PLACE, keep=st.booleans())
    def deliver(self, place: int, keep: bool) -> None:  # noqa: FBT001  a strategy's value
        """A webhook arrives, in any order, perhaps not for the last time."""
        self.world.deliver(place, keep=keep)

    @rule(place=PLACE)
    def lose(self, place: int) -> None:
        """A webhook is lost."""
        self.world.lose(place)

    @rule(what=st.sampled_from(["poll", "reconcile", "restart", "merge"]))
    def look(self, what: str) -> None:
        """A poll, the scheduled check, a restart of the orchestrator, or a merge."""
        getattr(self.world, what)()

    @rule(milliseconds=st.sampled_from([1, 300, 2_000, 60_000, 4_000_000]))
    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.world.wait(milliseconds)

    @rule(place=PLACE)
    def note(self, place: int) -> None:
        """A person writes a note."""
        self.world.note(place)

    @rule(place=PLACE, what=st.sampled_from(["attach_ours", "link_ours", "attach_theirs", "detach_theirs"]))
    def attach(self, place: int, what: str) -> None:
        """A person attaches or links something on either side, or takes a file away."""
        getattr(self.world, what)(place)

    @rule()
    def declare(self) -> None:
        """A second incident."""
        if len(self.world.incidents) < 2:
            self.world.declare()

    @rule(place=PLACE, choice=PLACE)
    def decide(self, place: int, choice: int) -> None:
        """A person decides a conflict."""
        self.world.decide_conflict(place, choice)

    @rule(place=PLACE, what=st.sampled_from(["copy", "delete", "relink"]))
    def tamper(self, place: int, what: str) -> None:
        """A person copies or deletes a ticket, or wants one again."""
        self.world.tamper(place, what)

    def teardown(self) -> None:
        """At rest."""
        if hasattr(self, "world"):
            found = violations(self.world)
            assert not found, found
