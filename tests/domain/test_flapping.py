"""Flapping alerts: counted, held, without effects where the rule says so, and settled by a timer."""

from __future__ import annotations

from typing import Any

from streams.agents import state_codec
from streams.domain import commands, events, outputs
from streams.domain.correlation import Rule
from streams.domain.errors import Reason
from tests.domain.intake import MINUTE, T0, Intake, signal

WINDOW = 30 * MINUTE
ADA = "user:ada"


def flapping(*stops: Any, auto_resolve: bool = True) -> Intake:
    """An intake under a rule that takes three changes within half an hour for real."""
    intake = Intake()
    rule = Rule(
        "all", 1, ("service",), 10 * MINUTE,
        auto_resolve=auto_resolve, flap_changes=3, flap_window_ms=WINDOW, flap_stops=stops,
    )  # fmt: skip
    intake.rules(rule)
    declared = {"com.incidents.declared.v1": "note"}
    intake.command(commands.SetSubscription("s", "pagerduty", "am-1", declared, ADA))
    return intake


def change(intake: Intake, times: int, begin: int = 0) -> list[events.Event]:
    """Fire and resolve in turn, a minute apart, in batches of their own."""
    found: list[events.Event] = []
    for n in range(begin, begin + times):
        intake.now = max(intake.now, T0 + n * MINUTE)
        status: Any = "resolved" if n % 2 else "firing"
        found += intake.send(signal(at=T0 + n * MINUTE, status=status, external_id="P1"))
    return found


def states(found: list[events.Event]) -> list[str]:
    return [event.state for event in found if isinstance(event, events.Flapping)]


def settle(intake: Intake, incident: str, due: int) -> outputs.CommandResult:
    return intake.command(commands.FireTimer(incident, "settle", due, "cause"), f"settle-{due}")


def test_a_calm_alert_begins_a_new_incident_each_time_and_a_flapping_one_does_not() -> None:
    intake = flapping("incidents", "effects")
    assert states(change(intake, 5)) == []
    assert len(intake.declared()) == 3
    found = change(intake, 7, begin=5)
    assert states(found) == ["started"]
    assert len(intake.declared()) == 3
    assert {type(event) for event in found} == {events.Flapping, events.AlertsRepeated}
    last = intake.incident(intake.declared()[-1])
    assert (last.status, last.firing_count, last.repeat_count) == ("open", 1, 7)
    event = next(event for event in found if isinstance(event, events.Flapping))
    assert (event.rule, event.changes, event.window_ms, event.stops) == ("all", 4, WINDOW, ("incidents", "effects"))
    assert event.due == intake.recorded[-7].envelope.recordedtime + WINDOW


def test_what_a_rule_only_notes_goes_on_and_without_effects_where_it_says_so() -> None:
    for stops, planned in (((), 6), (("effects",), 2)):
        intake = flapping(*stops)
        assert states(change(intake, 11)) == ["started"]
        assert len(intake.declared()) == 6
        assert len(intake.intents) == planned


def test_changes_that_are_far_apart_are_not_flapping() -> None:
    intake = flapping("incidents")
    for n in range(12):
        intake.now = T0 + n * WINDOW
        status: Any = "resolved" if n % 2 else "firing"
        assert states(intake.send(signal(at=T0 + n * WINDOW, status=status))) == []


def test_repetitions_and_late_signals_are_no_changes() -> None:
    intake = flapping("incidents")
    for n in range(20):
        intake.send(signal(at=T0 + n))
    intake.send(signal(at=T0 + 30, status="resolved"))
    for n in range(20):
        intake.send(signal(at=T0 + n), signal(at=T0 + n, status="resolved"))
    assert states([r.event for r in intake.recorded]) == []


def test_an_alert_that_is_calm_again_becomes_what_it_was_last_said_to_be() -> None:
    for last, status in ((6, "resolved"), (7, "open")):
        intake = flapping("incidents")
        change(intake, last)
        incident = intake.declared()[-1]
        settle(intake, incident, T0 + last * MINUTE + 2 * WINDOW)
        assert states([r.event for r in intake.recorded]) == ["started", "ended"]
        assert intake.incident(incident).status == status
        assert not len(intake.tenant.flaps)
        assert intake.folded() == {
            id_: intake.incident(id_)._replace(**_unfolded(intake, id_)) for id_ in intake.folded()
        }


def _unfolded(intake: Intake, id_: str) -> dict[str, Any]:
    """What the fold of the record alone does not know."""
    folded = intake.folded()[id_]
    return {name: getattr(folded, name) for name in ("sequence", "hash", "status_event")}


def test_one_that_is_not_calm_yet_is_looked_at_again_later() -> None:
    intake = flapping("incidents")
    change(intake, 12)
    incident = intake.declared()[-1]
    due = next(r.event.due for r in intake.recorded if isinstance(r.event, events.Flapping))
    settle(intake, incident, due)
    event = intake.recorded[-1].event
    assert isinstance(event, events.Flapping)
    assert (event.state, event.due > due) == ("continued", True)
    again = settle(intake, incident, due)
    assert isinstance(again, outputs.CommandAccepted)  # the same command is answered again
    early = intake.command(commands.FireTimer(incident, "settle", due, "cause"), "another")
    assert isinstance(early, outputs.CommandRejected)
    assert early.reason == Reason.NOT_DUE


def test_the_alert_of_a_merged_incident_is_settled_where_it_is_now() -> None:
    intake = flapping("incidents")
    change(intake, 6)
    source = intake.declared()[-1]
    target = intake.command(commands.Declare("by hand", ADA)).incident_id
    intake.command(commands.Merge(source, target, ADA))
    settle(intake, source, T0 + 3 * WINDOW)
    assert intake.incident(target).firing_count == 0


def test_a_rule_set_that_no_longer_looks_for_it_lets_go() -> None:
    intake = flapping("incidents")
    change(intake, 6)
    incident = intake.declared()[-1]
    intake.rules(Rule("all", 2, ("service",), 10 * MINUTE))
    intake.send(signal(at=T0 + 20 * MINUTE, status="resolved"))
    assert intake.incident(incident).firing_count == 0
    settle(intake, incident, T0 + 3 * WINDOW)
    assert states([r.event for r in intake.recorded]) == ["started", "ended"]


def test_flaps_are_forgotten_and_survive_the_state() -> None:
    intake = flapping("incidents")
    change(intake, 3)
    (key,) = intake.tenant.flaps
    flap = intake.tenant.flaps.get(key)
    assert flap is not None
    assert state_codec.decode("flap", state_codec.encode("flap", flap)) == flap
    intake.now += 2 * WINDOW
    intake.send(signal("other"))
    assert not len(intake.tenant.flaps)
