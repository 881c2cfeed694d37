"""The lifecycle and what commands do to an incident."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain import commands, events, lifecycle, outputs
from streams.domain.commands import (
    Acknowledge,
    AddNote,
    Assign,
    ChangeFields,
    ChangeState,
    Declare,
    Merge,
    SetSeverity,
    Split,
)
from streams.domain.errors import Reason, Rejected
from streams.domain.incident import Incident, evolve
from streams.domain.lifecycle import TRANSITIONS, Status, transition
from tests.domain.intake import T0, Intake, signal

ADA = "user:ada"
HOUR = 3_600_000


def declare(intake: Intake, service: str = "") -> str:
    result = intake.command(Declare(title="Checkout is slow", actor=ADA, service=service))
    assert isinstance(result, outputs.CommandAccepted)
    return result.incident_id


def rejected(intake: Intake, command: commands.Command) -> str:
    before = len(intake.recorded)
    result = intake.command(command)
    assert isinstance(result, outputs.CommandRejected)
    assert len(intake.recorded) == before, "a rejection leaves no event"
    return result.reason


def test_numbers_have_no_gap_even_over_rejections() -> None:
    intake = Intake()
    declare(intake)
    assert rejected(intake, Declare(title="  ", actor=ADA)) == Reason.EMPTY_VALUE
    assert rejected(intake, Declare(title="x", actor=ADA, severity="SEV-9")) == Reason.UNKNOWN_SEVERITY
    declare(intake)
    intake.send(signal())
    assert [intake.incident(id_).number for id_ in intake.declared()] == [1, 2, 3]


@pytest.mark.parametrize("to", list(Status))
@pytest.mark.parametrize("source", list(Status))
def test_every_step_is_in_the_table_or_refused(source: Status, to: Status) -> None:
    allowed = any(row.source == source and row.target == to and row.trigger != "merge" for row in TRANSITIONS)
    if allowed:
        assert transition(source, to, now=T0, resolved_at=T0).target == to
    else:
        with pytest.raises(Rejected) as error:
            transition(source, to, now=T0, resolved_at=T0)
        assert error.value.reason == Reason.ILLEGAL_TRANSITION


def test_a_resolved_incident_reopens_for_72_hours() -> None:
    for after, reason in ((71, ""), (73, Reason.REOPEN_TOO_LATE)):
        intake = Intake()
        intake.command(commands.SetPreferences(ADA, close_after_ms=0))
        id_ = declare(intake)
        intake.command(ChangeState(id_, "resolved", ADA))
        intake.now += after * HOUR
        if reason:
            assert rejected(intake, ChangeState(id_, "open", ADA)) == reason
        else:
            intake.command(ChangeState(id_, "open", ADA))
            assert intake.incident(id_).status == "open"
            assert intake.incident(id_).resolved_at == 0


def test_acknowledging_twice_is_one_event() -> None:
    intake = Intake()
    id_ = declare(intake)
    assert len(intake.send(Acknowledge(id_, ADA), Acknowledge(id_, "user:bob"))) == 1
    assert intake.incident(id_).acknowledged_by == ADA
    assert all(isinstance(result, outputs.CommandAccepted) for result in intake.results)


def test_a_stale_revision_is_refused_and_alerts_do_not_make_one_stale() -> None:
    intake = Intake()
    intake.send(signal("fp-1"))
    id_ = intake.declared()[0]
    revision = intake.incident(id_).revision
    intake.send(signal("fp-2"), AddNote(id_, "looking", ADA))
    assert intake.incident(id_).revision == revision
    intake.command(Assign(id_, "bob", ADA, expected_revision=revision))
    assert rejected(intake, SetSeverity(id_, "SEV-1", ADA, expected_revision=revision)) == Reason.STALE_REVISION


def test_fields_are_edited_one_event_each_and_only_where_they_differ() -> None:
    intake = Intake()
    id_ = declare(intake, service="checkout")
    changed = intake.send(ChangeFields(id_, {"title": "Slow", "service": "checkout", "description": "why"}, ADA))
    assert [(e.field, e.value) for e in changed if isinstance(e, events.FieldChanged)] == [
        ("description", "why"),
        ("title", "Slow"),
    ]
    assert rejected(intake, ChangeFields(id_, {"number": "7"}, ADA)) == Reason.UNKNOWN_FIELD
    assert rejected(intake, ChangeFields(id_, {"title": " "}, ADA)) == Reason.EMPTY_VALUE
    assert rejected(intake, AddNote(id_, "x" * 16_001, ADA)) == Reason.TOO_LONG
    assert rejected(intake, AddNote(id_, " ", ADA)) == Reason.EMPTY_VALUE
    assert rejected(intake, ChangeState(id_, "asleep", ADA)) == Reason.UNKNOWN_STATE
    assert rejected(intake, Acknowledge("no-such", ADA)) == Reason.UNKNOWN_INCIDENT


def test_a_merge_moves_the_counts_and_what_comes_later() -> None:
    intake = Intake()
    intake.send(signal("fp-1", external_id="P1"), signal("fp-2", service="payments", external_id="P2"))
    source, target = intake.declared()
    intake.command(Merge(source, target, ADA))
    merged = intake.incident(target)
    assert (merged.alert_count, merged.firing_count) == (2, 2)
    assert [external.external_id for external in merged.externals] == ["P2", "P1"]
    assert intake.incident(source).merged_into == target
    assert intake.incident(source).status == "closed"
    intake.send(signal("fp-1", at=T0 + 1, status="resolved"), signal("fp-3"))
    assert intake.incident(target).alert_count == 3
    assert intake.incident(target).firing_count == 2
    assert rejected(intake, AddNote(source, "x", ADA)) == Reason.MERGED_INCIDENT
    assert rejected(intake, Merge(source, target, ADA)) == Reason.MERGED_INCIDENT
    assert rejected(intake, Merge(target, target, ADA)) == Reason.SAME_INCIDENT


def test_a_command_is_answered_again_and_a_reused_key_is_refused() -> None:
    intake = Intake()
    id_ = declare(intake)
    first = intake.command(AddNote(id_, "a", ADA), "key-1")
    events_before = len(intake.recorded)
    assert intake.command(AddNote(id_, "a", ADA), "key-1") == first
    other = intake.command(AddNote(id_, "b", ADA), "key-1")
    assert isinstance(other, outputs.CommandRejected)
    assert (other.reason, other.command_id) == (Reason.REUSED_KEY, "key-1")
    assert intake.command(AddNote(id_, "a", ADA), "key-1") == first
    assert len(intake.recorded) == events_before


def test_a_command_repeated_within_its_batch_is_answered_twice_and_done_once() -> None:
    intake = Intake()
    message = intake.message(Declare(title="x", actor=ADA), "key-1")
    intake.decide([message, message])
    assert len(intake.declared()) == 1
    assert intake.results[0] == intake.results[1]


def test_timers_close_and_archive_and_are_void_once_the_incident_moved_on() -> None:
    intake = Intake()
    id_ = declare(intake)
    intake.command(ChangeState(id_, "resolved", ADA))
    resolved = intake.recorded[-1]
    assert isinstance(resolved.event, events.Resolved)
    assert resolved.event.due > resolved.envelope.recordedtime
    intake.command(ChangeState(id_, "open", ADA))
    void = commands.FireTimer(id_, "close", resolved.event.due, resolved.envelope.id)
    assert rejected(intake, void) == Reason.NOT_DUE
    intake.command(ChangeState(id_, "resolved", ADA))
    again = intake.recorded[-1]
    assert isinstance(again.event, events.Resolved)
    intake.command(commands.FireTimer(id_, "close", again.event.due, again.envelope.id))
    assert intake.incident(id_).status == "closed"
    assert intake.tenant.head.clock >= again.event.due, "a timer moves the clock to its due time"
    closed = intake.recorded[-1]
    assert isinstance(closed.event, events.Closed)
    intake.command(commands.FireTimer(id_, "archive", closed.event.due, closed.envelope.id))
    assert intake.tenant.incidents.get(id_) is None
    assert rejected(intake, AddNote(id_, "late", ADA)) == Reason.UNKNOWN_INCIDENT


def test_archiving_lets_go_of_the_alerts() -> None:
    intake = Intake()
    intake.send(signal("fp-1"), signal("fp-2"))
    id_ = intake.declared()[0]
    intake.command(ChangeState(id_, "canceled", ADA))
    closed = intake.recorded[-1]
    assert len(intake.tenant.alerts) == 2
    intake.command(commands.FireTimer(id_, "archive", 0, closed.envelope.id))
    assert len(intake.tenant.alerts) == 0
    intake.send(signal("fp-1", at=intake.now))
    assert len(intake.declared()) == 2


def test_evolve_refuses_a_history_that_does_not_begin_with_a_declaration() -> None:
    with pytest.raises(ValueError, match="begins with NoteAdded"):
        evolve(None, events.NoteAdded("x", ADA), id_="i", at=T0)
    one = evolve(None, events.Declared(1, "t", "SEV-1", "open"), id_="i", at=T0)
    with pytest.raises(ValueError, match="declared twice"):
        evolve(one, events.Declared(1, "t", "SEV-1", "open"), id_="i", at=T0)


_texts = st.text(max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(get_args(events.IncidentEvent)).filter(lambda e: e is not events.Declared).flatmap(st.builds))
def test_evolve_is_total(event: events.IncidentEvent) -> None:
    if isinstance(event, events.FieldChanged) and event.field not in {"title", "service", "description"}:
        return
    incident = Incident("i", 1, "t", "open", "SEV-3")
    assert evolve(incident, event, id_="i", at=T0).id == "i"


_commands = st.one_of(
    st.builds(ChangeState, st.just("?"), st.sampled_from([*Status, "bogus"]), st.just(ADA)),
    st.builds(Acknowledge, st.just("?"), st.just(ADA)),
    st.builds(AddNote, st.just("?"), _texts, st.just(ADA)),
    st.builds(Assign, st.just("?"), _texts, st.just(ADA), st.integers(0, 3)),
    st.builds(Merge, st.just("?"), st.just("?"), st.just(ADA)),
    st.builds(SetSeverity, st.just("?"), st.sampled_from(["SEV-1", "SEV-2", "bad"]), st.just(ADA)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(_commands, st.integers(0, 2), st.integers(0, 2)), max_size=25))
def test_status_never_leaves_the_table_and_state_is_the_fold_of_the_record(
    steps: list[tuple[commands.Command, int, int]],
) -> None:
    intake = Intake()
    ids = [declare(intake) for _ in range(3)]
    steps_of_table = {(row.source, row.target) for row in lifecycle.TRANSITIONS}
    for command, which, other in steps:
        changes = {"incident_id": ids[which]} | ({"into": ids[other]} if isinstance(command, Merge) else {})
        values = {name: getattr(command, name) for name in command.__slots__} | changes
        before = intake.incident(ids[which]).status
        intake.command(type(command)(**values))
        after = intake.incident(ids[which]).status
        assert before == after or (before, after) in steps_of_table
    folded = intake.folded()
    for id_ in ids:
        state = intake.incident(id_)
        assert folded[id_] == state._replace(sequence=0, hash="", status_event="")


def test_a_split_names_what_it_cannot_do() -> None:
    intake = Intake()
    intake.send(signal("a"), signal("b", service="other"))
    first, second = intake.declared()
    (mine,), (theirs,) = (tuple(intake.tenant.alerts_of[id_]) for id_ in (first, second))
    alert = events.SplitAlert(mine, 1, T0, T0)
    assert rejected(intake, Split(first, (), ADA, title="x")) == Reason.EMPTY_VALUE
    assert rejected(intake, Split(first, (alert, alert), ADA, title="x")) == Reason.EMPTY_VALUE
    assert (
        rejected(intake, Split(first, (events.SplitAlert(theirs, 1, T0, T0),), ADA, title="x")) == Reason.UNKNOWN_ALERT
    )
    assert rejected(intake, Split(first, (alert,), ADA)) == Reason.EMPTY_VALUE
    assert rejected(intake, Split(first, (alert,), ADA, title="x", severity="bad")) == Reason.UNKNOWN_SEVERITY
    assert rejected(intake, Split(first, (alert,), ADA, into=first)) == Reason.SAME_INCIDENT
    assert rejected(intake, Split(first, (alert,), ADA, into="nowhere")) == Reason.UNKNOWN_INCIDENT
    assert rejected(intake, Split("nowhere", (alert,), ADA, title="x")) == Reason.UNKNOWN_INCIDENT
    intake.command(ChangeState(second, "canceled", ADA))
    assert rejected(intake, Split(first, (alert,), ADA, into=second)) == Reason.ILLEGAL_TRANSITION
    assert rejected(intake, Split(second, (alert,), ADA, title="x")) == Reason.ILLEGAL_TRANSITION
