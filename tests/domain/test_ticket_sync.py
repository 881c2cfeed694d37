"""One ticket: creation, the five policies, echoes, races, merges, refusals and archiving, each by its own messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from streams.domain import commands, events, outputs
from streams.domain import ticket_events as said
from streams.domain.mapping import FieldMapping, Owner, Policy
from streams.domain.ticket_commands import LinkTicket, ReconcileTickets, ResolveConflict, SetMapping, UnlinkTicket
from streams.domain.tickets import RecordTicket, TicketObserved, request_of
from tests.domain.intake import Intake

SEVERITIES = {"SEV-1": "1", "SEV-2": "2", "SEV-3": "3"}
STATES = {"open": "2", "mitigated": "6", "resolved": "6", "closed": "7"}


def mapped(owner: Owner = "bidirectional", policy: Policy = "most_recent_allowed") -> tuple[FieldMapping, ...]:
    status: Policy = "state_machine" if policy == "most_recent_allowed" else policy
    return (
        FieldMapping("title", "short_description", owner, policy),
        FieldMapping("severity", "urgency", owner, policy, values=SEVERITIES),
        FieldMapping(
            "status", "state", owner, status, values=STATES, inbound={"1": "open"}, required={"6/close_code": "Done"}
        ),
    )


@dataclass
class Desk:
    """A tenant with one incident, and a ticket that is whatever the test says."""

    fields: tuple[FieldMapping, ...] = field(default_factory=mapped)
    intake: Intake = field(default_factory=Intake)
    version: int = 0
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.intake.command(SetMapping("int_1", "servicenow", 1, self.fields, "user:ada", ("SEV-3",)))
        self.intake.command(commands.Declare("Checkout down", "user:ada"))
        [self.incident] = self.intake.declared()

    @property
    def intent(self) -> outputs.Intent:
        return self.intake.intents[-1]

    def answer(self, status: Any = "done", **more: Any) -> list[events.Event]:
        """The dispatcher's answer to the newest intent: what it asked for is on the ticket now."""
        request = request_of(self.intent.payload)
        if status == "done" and request.changes:
            self.values |= request.changes
            self.version += 1
        values: dict[str, Any] = {
            "external_id": "T1",
            "external_key": "INC0010001",
            "version": self.version,
            "fields": dict(self.values),
            "written": tuple(request.changes),
        }
        result = RecordTicket(
            self.intent.incident_id,
            self.intent.intent_id,
            "servicenow",
            "int_1",
            self.intent.action,
            status,
            **(values | more),
        )
        return self.intake.send(result)

    def see(self, *, version: int = 0, **changes: str) -> list[events.Event]:
        """The ticket was changed by somebody else, and is shown to us."""
        self.values |= changes
        self.version = version or self.version + 1
        seen = TicketObserved(
            "servicenow",
            "int_1",
            "T1",
            version=self.version,
            updated_at=self.intake.now + 5_000,
            updated_by="grace",
            fields=dict(self.values),
        )
        return self.intake.send(seen)

    def linked(self) -> Desk:
        self.answer()
        return self

    def decided(self) -> list[said.ConflictDetected]:
        return [r.event for r in self.intake.recorded if isinstance(r.event, said.ConflictDetected)]


def test_a_ticket_is_asked_for_once_under_a_marker() -> None:
    desk = Desk()
    assert [i.action for i in desk.intake.intents] == ["ticket_create"]
    request = request_of(desk.intent.payload)
    assert request.changes == {"short_description": "Checkout down", "urgency": "3", "state": "2"}
    assert request.marker.startswith("inc-")
    assert request.marker.endswith("-int_1")
    desk.intake.send(commands.SetSeverity(desk.incident, "SEV-2", "user:ada"))
    desk.intake.send(commands.SetSeverity(desk.incident, "SEV-3", "user:ada"))
    assert [i.action for i in desk.intake.intents] == ["ticket_create"]


def test_an_echo_is_nothing_new() -> None:
    desk = Desk().linked()
    before = len(desk.intake.recorded)
    assert desk.see(version=1) == []
    assert len(desk.intake.recorded) == before


def test_edits_while_a_write_is_out_become_one_write() -> None:
    desk = Desk().linked()
    for title in ("One", "Two", "Three"):
        desk.intake.send(commands.ChangeFields(desk.incident, {"title": title}, "user:ada"))
    assert [i.action for i in desk.intake.intents] == ["ticket_create", "ticket_update"]
    desk.answer()
    assert request_of(desk.intent.payload).changes == {"short_description": "Three"}
    desk.answer()
    assert len(desk.intake.intents) == 3


@pytest.mark.parametrize(
    ("owner", "policy", "ours", "result"),
    [
        ("bidirectional", "internal_wins", True, "ours"),
        ("bidirectional", "external_wins", True, "theirs"),
        ("bidirectional", "most_recent_allowed", True, "theirs"),
        ("bidirectional", "manual", True, "waiting"),
        ("internal", "internal_wins", False, "ours"),
        ("internal", "external_wins", False, "theirs"),
        ("internal", "most_recent_allowed", False, "theirs"),
        ("internal", "manual", False, "waiting"),
    ],
)
def test_a_policy_decides_a_conflict_and_says_so(owner: Owner, policy: Policy, ours: bool, result: str) -> None:  # noqa: FBT001
    desk = Desk(mapped(owner, policy)).linked()
    if ours:
        desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours"}, "user:ada"))
        desk.values["short_description"], desk.version = "Theirs", desk.version + 1
        now = desk.intake.now + 5_000
        desk.answer("stale", updated_at=now, updated_by="grace", written=())
    else:
        desk.see(short_description="Theirs")
    [conflict] = desk.decided()
    assert (conflict.field, conflict.policy, conflict.result, conflict.theirs) == ("title", policy, result, "Theirs")
    assert conflict.mapping_version == 1
    assert conflict.explanation
    title = desk.intake.incident(desk.incident).title
    assert title == {"theirs": "Theirs", "ours": "Ours" if ours else "Checkout down"}.get(result, title)
    writes = [i for i in desk.intake.intents if i.action == "ticket_update"]
    assert len(writes) == (1 if ours else 0) + (1 if result == "ours" else 0)


@pytest.mark.parametrize("active", [True, False])
def test_a_mapping_without_the_field_ends_its_conflict_and_no_other(*, active: bool) -> None:
    desk = Desk(mapped("internal", "manual")).linked()
    desk.see(urgency="1")
    [conflict] = desk.decided()
    fewer = tuple(one for one in desk.fields if one.external_field != "urgency")
    same = SetMapping("int_1", "servicenow", 2, desk.fields, "user:bob", ("SEV-3",))
    assert len(desk.intake.send(same)) == 1, "with the field, the conflict goes on waiting"
    other = SetMapping("int_2", "servicenow", 1, fewer, "user:bob")
    assert len(desk.intake.send(other)) == 1, "another integration's mapping ends nothing here"
    without = SetMapping("int_1", "servicenow", 3, fewer if active else desk.fields, "user:bob", (), active=active)
    configured, ended = desk.intake.send(without)
    assert isinstance(configured, events.Configured)
    assert ended == said.ConflictResolved(
        conflict.conflict_id, conflict.ticket_id, "servicenow", "int_1", "severity", "urgency", "ours", "SEV-3",
        "user:bob",
    )  # fmt: skip
    before = len(desk.intake.intents)
    desk.intake.send(same)
    assert len(desk.intake.intents) == before, "nothing is written over theirs"


def test_a_decision_of_a_waiting_conflict_is_carried_out_on_both_sides() -> None:
    desk = Desk(mapped("internal", "manual")).linked()
    desk.see(short_description="Theirs")
    [conflict] = desk.decided()
    choice = ResolveConflict(desk.incident, conflict.ticket_id, "short_description", "ours", "user:ada")
    assert isinstance(desk.intake.command(choice), outputs.CommandAccepted)
    assert request_of(desk.intent.payload).changes == {"short_description": "Checkout down"}
    again = desk.intake.command(choice)
    assert isinstance(again, outputs.CommandRejected)
    assert again.reason == "no-conflict"


def test_a_state_is_reached_over_those_in_between_and_never_illegally() -> None:
    desk = Desk(mapped("internal")).linked()
    desk.see(state="7")
    assert desk.intake.incident(desk.incident).status == "closed"
    desk.see(state="2")
    assert desk.intake.incident(desk.incident).status == "closed"
    assert (desk.decided()[-1].kind, desk.decided()[-1].result) == ("not_allowed", "ours")


@pytest.mark.parametrize(("state", "kind"), [("3", "unmapped"), ("6", "ambiguous")])
def test_what_is_not_understood_is_kept_and_shown(state: str, kind: str) -> None:
    desk = Desk().linked()
    desk.see(state=state)
    assert desk.intake.incident(desk.incident).status == "open"
    assert [(c.kind, c.result) for c in desk.decided()] == [(kind, "kept")]
    assert len(desk.intake.intents) == 1
    desk.see(short_description="Another field")
    assert len(desk.decided()) == 1


def test_a_map_that_cannot_be_inverted_keeps_the_local_state() -> None:
    desk = Desk().linked()
    desk.intake.send(commands.ChangeState(desk.incident, "mitigated", "user:ada"))
    changes = request_of(desk.intent.payload).changes
    assert changes == {"state": "6", "close_code": "Done"}
    desk.answer()
    desk.intake.send(commands.ChangeState(desk.incident, "resolved", "user:ada"))
    assert len(desk.intake.intents) == 2
    assert desk.intake.incident(desk.incident).status == "resolved"


def test_an_older_observation_changes_nothing() -> None:
    desk = Desk().linked()
    desk.see(short_description="New", version=5)
    before = len(desk.intake.recorded)
    old = TicketObserved("servicenow", "int_1", "T1", version=4, fields={"short_description": "Old"})
    desk.intake.send(old)
    assert len(desk.intake.recorded) == before
    assert desk.intake.incident(desk.incident).title == "New"


def test_an_observation_without_a_version_is_a_reason_to_read() -> None:
    desk = Desk().linked()
    desk.intake.send(TicketObserved("servicenow", "int_1", "T1", fields={"short_description": "When?"}))
    assert desk.intent.action == "ticket_read"
    assert desk.intake.incident(desk.incident).title == "Checkout down"


def test_what_a_write_replaced_is_decided_as_if_it_had_been_seen() -> None:
    desk = Desk(mapped("bidirectional", "external_wins")).linked()
    desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours"}, "user:ada"))
    desk.answer(raced=True, overwritten={"short_description": "Theirs"})
    [conflict] = desk.decided()
    assert (conflict.kind, conflict.result, conflict.theirs) == ("overwritten", "theirs", "Theirs")
    assert request_of(desk.intent.payload).changes == {"short_description": "Theirs"}


def test_a_race_that_nothing_names_is_shown() -> None:
    desk = Desk().linked()
    desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours"}, "user:ada"))
    desk.answer(raced=True)
    assert [(c.kind, c.result) for c in desk.decided()] == [("raced", "ours")]


def test_a_rule_that_rewrites_what_is_written_is_not_fought() -> None:
    desk = Desk(mapped("internal", "internal_wins")).linked()
    desk.intake.send(commands.SetSeverity(desk.incident, "SEV-1", "user:ada"))
    desk.values["urgency"] = "1"
    desk.answer(fields={**desk.values, "urgency": "2"})
    assert [(c.kind, c.result) for c in desk.decided()] == [("rewritten", "kept")]
    assert len(desk.intake.intents) == 2


def test_a_quarrel_without_end_waits_for_a_decision() -> None:
    desk = Desk(mapped("internal", "internal_wins")).linked()
    for number in range(10):
        desk.see(short_description=f"No, {number}")
        if desk.decided()[-1].kind == "contested":
            break
        desk.answer()
    assert desk.decided()[-1].result == "waiting"
    assert len([i for i in desk.intake.intents if i.action == "ticket_update"]) == 4


def test_a_refused_write_is_not_repeated_until_a_side_changes() -> None:
    desk = Desk().linked()
    desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours"}, "user:ada"))
    desk.answer("failed", detail="HTTP 403")
    assert [(c.kind, c.result) for c in desk.decided()] == [("refused", "kept")]
    assert len(desk.intake.intents) == 2
    desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours again"}, "user:ada"))
    assert len(desk.intake.intents) == 3


def test_a_deleted_ticket_is_an_event_and_not_made_anew() -> None:
    desk = Desk().linked()
    seen = desk.intake.send(TicketObserved("servicenow", "int_1", "T1", deleted=True))
    assert [type(one) for one in seen] == [said.TicketUnlinked]
    desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours"}, "user:ada"))
    assert len(desk.intake.intents) == 1
    assert isinstance(desk.intake.command(LinkTicket(desk.incident, "int_1", "user:ada")), outputs.CommandAccepted)
    assert desk.intent.action == "ticket_create"


def test_a_second_ticket_with_the_marker_is_retired() -> None:
    desk = Desk().linked()
    marker = request_of(desk.intake.intents[0].payload).marker
    desk.intake.send(TicketObserved("servicenow", "int_1", "T2", marker=marker, version=1, fields=dict(desk.values)))
    assert (desk.intent.action, desk.intent.external_id) == ("ticket_retire", "T2")


def test_notes_go_out_once_the_ticket_is_there_and_not_back_where_they_came_from() -> None:
    desk = Desk()
    desk.intake.send(commands.AddNote(desk.incident, "rolled back", "user:ada"))
    assert [i.action for i in desk.intake.intents] == ["ticket_create"]
    desk.answer()
    assert desk.intent.action == "ticket_comment"
    assert request_of(desk.intent.payload).text.startswith("rolled back")
    desk.answer()
    desk.intake.send(commands.AddNote(desk.incident, "theirs", "servicenow:grace", via="int_1"))
    assert len(desk.intake.intents) == 2


def test_after_a_merge_the_ticket_shows_the_other_incident() -> None:
    desk = Desk().linked()
    desk.intake.command(SetMapping("int_1", "servicenow", 2, desk.fields, "user:ada", ()))
    desk.intake.command(commands.Declare("The real one", "user:ada"))
    other = desk.intake.declared()[1]
    desk.intake.send(commands.Merge(desk.incident, other, "user:ada"))
    assert desk.intent.incident_id == other
    assert request_of(desk.intent.payload).changes["short_description"] == "The real one"


def test_commands_that_make_no_sense_are_rejected() -> None:
    desk = Desk().linked()
    [link] = desk.intake.tenant.tickets.values()
    for command, reason in (
        (LinkTicket(desk.incident, "int_1", "user:ada"), "ticket-exists"),
        (LinkTicket(desk.incident, "int_9", "user:ada"), "unknown-mapping"),
        (UnlinkTicket(desk.incident, "no such", "user:ada"), "unknown-ticket"),
        (ResolveConflict(desk.incident, link.ticket_id, "state", "ours", "user:ada"), "no-conflict"),
        (ResolveConflict(desk.incident, link.ticket_id, "weather", "ours", "user:ada"), "unknown-field"),
        (SetMapping("int_1", "servicenow", 1, (), "user:ada"), "invalid-mapping"),
        (ReconcileTickets("no such", "user:ada"), "unknown-incident"),
    ):
        result = desk.intake.command(command)
        assert isinstance(result, outputs.CommandRejected)
        assert result.reason == reason


def test_a_result_that_nobody_waits_for_is_rejected() -> None:
    desk = Desk().linked()
    assert desk.answer() == []
    assert isinstance(desk.intake.results[-1], outputs.CommandRejected)


def test_a_ticket_of_nobody_is_kept_as_what_was_sent() -> None:
    desk = Desk()
    [kept] = desk.intake.send(TicketObserved("servicenow", "int_1", "T9", version=1, raw=b"{}"))
    assert type(kept).__name__ == "ProviderIngested"


def test_the_state_lets_go_of_a_ticket_with_its_incident() -> None:
    desk = Desk().linked()
    for to in ("resolved", "closed"):
        desk.intake.send(commands.ChangeState(desk.incident, to, "user:ada"))
    cause = desk.intake.incident(desk.incident).status_event
    desk.intake.send(commands.FireTimer(desk.incident, "archive", desk.intake.now + 1, cause))
    assert len(desk.intake.tenant.tickets) == 0


def test_a_value_that_our_write_replaced_is_not_put_over_a_later_one() -> None:
    desk = Desk(mapped("internal", "external_wins")).linked()
    desk.intake.send(commands.ChangeFields(desk.incident, {"title": "Ours"}, "user:ada"))
    desk.see(version=4, short_description="Newest")  # told before the answer to our write, which came before it
    shown = {**desk.values, "short_description": "Ours"}
    desk.answer(version=3, fields=shown, raced=True, overwritten={"short_description": "Lost"})
    [replaced, *_] = [one for one in desk.decided() if one.kind == "overwritten"]
    assert (replaced.theirs, replaced.result) == ("Lost", "ours")
    assert desk.intake.incident(desk.incident).title == "Newest"
    assert all(request_of(i.payload).changes.get("short_description") != "Lost" for i in desk.intake.intents)


def test_a_difference_that_was_kept_and_comes_back_is_shown_again() -> None:
    desk = Desk(mapped("bidirectional", "internal_wins")).linked()
    desk.intake.send(commands.SetSeverity(desk.incident, "SEV-2", "user:ada"))
    desk.answer(fields={**desk.values, "urgency": "1"})  # a rule of theirs rewrites it
    desk.values["urgency"] = "1"
    desk.see(urgency="9")
    assert [one.kind for one in desk.decided()] == ["rewritten", "unmapped"]
    desk.values["urgency"], desk.version = "1", desk.version + 1
    desk.answer("stale", written=())
    assert [(one.kind, one.result, one.theirs) for one in desk.decided()][2:] == [("rewritten", "kept", "1")]
    [link] = desk.intake.tenant.tickets.values()
    assert link.field("urgency").conflict
