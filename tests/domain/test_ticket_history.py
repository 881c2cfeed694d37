"""The fold that shows tickets: states, conflicts and drift come and go as the events say."""

from __future__ import annotations

from typing import Any

from streams.domain import ticket_events as said
from streams.domain.envelope import Envelope
from streams.domain.ticket_history import Tickets

LINK = ("ticket-1", "servicenow", "i2")


def history(*happened: said.TicketEvent, incident: str = "a", found: Tickets | None = None) -> Tickets:
    """The fold after these events, a second apart."""
    found = found or Tickets()
    began = max((ticket.last_at for ticket in found.tickets.values()), default=0)
    for number, event in enumerate(happened, 1):
        envelope = Envelope(f"e{number}", "/incidents", "t", "acme", incident, recordedtime=began + number * 1000)
        found.take(envelope, event)
    return found


def linked() -> said.TicketLinked:
    return said.TicketLinked(*LINK, "created", "s1", "INC001", "https://tickets.example/s1")


def asked(action: str = "ticket_read") -> said.SyncRequested:
    return said.SyncRequested("ticket-1", "intent", *LINK[1:], action, "inc-ticket-1", 3)


def done(action: str = "ticket_read", **fields: Any) -> said.SyncCompleted:
    return said.SyncCompleted("ticket-1", "intent", *LINK[1:], action, 3, version=2, **fields)


def failed(action: str, kind: said.FailureKind) -> said.SyncFailed:
    return said.SyncFailed("ticket-1", "intent", *LINK[1:], action, kind, 5, detail="403")


def agreed(external: str = "urgency", theirs: str = "1") -> said.ProviderAck:
    synced = said.SyncedField("severity", external, "SEV-1", theirs, "agreed")
    return said.ProviderAck(*LINK, "s1", 3, 2, "eve", (synced,))


def conflict(result: said.ConflictResult, id_: str = "c1", theirs: str = "3") -> said.ConflictDetected:
    return said.ConflictDetected(
        id_, *LINK, "s1", "severity", "urgency", "both_changed", "bidirectional", "manual", 3, result, "SEV-1", theirs,
        explanation="severity: both changed",
    )  # fmt: skip


def over(side: said.Side = "ours", id_: str = "c1") -> said.ConflictResolved:
    return said.ConflictResolved(id_, *LINK, "severity", "urgency", side, "SEV-1", "user:ada")


def test_a_ticket_is_made_and_in_step() -> None:
    found = history(asked("ticket_create"))
    ticket = found.tickets["ticket-1"]
    assert (ticket.state, ticket.under_way, ticket.in_step, ticket.since) == ("creating", "ticket_create", False, 1000)
    history(linked(), done("ticket_create"), found=found)
    assert (ticket.state, ticket.in_step, ticket.last_result, ticket.mapping_version) == (
        "linked",
        True,
        "completed",
        3,
    )
    history(asked("ticket_update"), found=found)
    assert (ticket.in_step, ticket.last_action, ticket.last_result) == (False, "ticket_update", "requested")


def test_what_fails_says_so_until_something_succeeds() -> None:
    found = history(asked("ticket_create"), failed("ticket_create", "refused"))
    ticket = found.tickets["ticket-1"]
    assert (ticket.state, ticket.last_failure) == ("failed", "ticket_create: refused: 403")
    history(asked("ticket_create"), found=found)
    assert (ticket.state, ticket.last_failure) == ("creating", "ticket_create: refused: 403")
    history(failed("ticket_create", "stale"), found=found)
    assert ticket.state == "creating"
    history(linked(), done("ticket_create"), found=found)
    assert ticket.last_failure == ""


def test_a_dropped_comment_leaves_what_is_under_way() -> None:
    found = history(linked(), asked("ticket_update"), failed("ticket_comment", "dropped"))
    assert found.tickets["ticket-1"].under_way == "ticket_update"


def test_a_conflict_waits_moves_on_and_is_decided() -> None:
    found = history(linked(), conflict("waiting"), conflict("waiting", theirs="2"))
    ticket, one = found.tickets["ticket-1"], found.conflicts["c1"]
    assert (len(ticket.divergent), len(ticket.waiting), ticket.fields["urgency"].theirs) == (1, 1, "2")
    assert (one.since, one.ended, one.theirs) == (2000, "", "2")
    history(over(), found=found)
    assert (ticket.divergent, one.ended, one.value, one.ended_by) == ([], "ours", "SEV-1", "user:ada")
    assert ticket.fields["urgency"].since == 0


def test_a_policy_that_decides_leaves_nothing_open() -> None:
    found = history(linked(), conflict("kept"), conflict("theirs"))
    one = found.conflicts["c1"]
    assert (one.ended, one.value, one.since, one.ended_by) == ("theirs", "3", 2000, "")
    assert found.tickets["ticket-1"].in_step
    history(over("theirs"), found=found)  # what the taking over says comes behind it
    assert (one.ended, one.ended_by) == ("theirs", "")


def test_a_resolution_of_another_conflict_leaves_the_open_one() -> None:
    found = history(linked(), conflict("kept"), over(id_="c0"))
    assert len(found.tickets["ticket-1"].divergent) == 1
    assert found.conflicts.keys() == {"c1"}


def test_drift_stays_until_it_is_repaired_or_is_seen_to_be_gone() -> None:
    found = history(linked(), agreed(), done(drifted=("urgency", "unmapped")))
    ticket = found.tickets["ticket-1"]
    assert ([one.external_field for one in ticket.drifted], ticket.in_step) == (["urgency"], False)
    written = said.SyncedField("severity", "urgency", "SEV-1", "1", "written")
    history(done("ticket_update", fields=(written,)), found=found)
    assert ticket.drifted == []
    for end in (done(), conflict("waiting"), agreed()):
        again = history(linked(), agreed(), done(drifted=("urgency",)))
        history(end, found=again)
        assert again.tickets["ticket-1"].drifted == []


def test_what_is_in_conflict_does_not_drift_as_well() -> None:
    found = history(linked(), conflict("waiting"), done(drifted=("urgency",)))
    assert found.tickets["ticket-1"].drifted == []


def test_a_ticket_that_is_let_go_of_ends_its_conflicts() -> None:
    reasons: list[tuple[said.WhyNot, str]] = [("gone", "gone"), ("command", "unlinked"), ("archived", "archived")]
    for why, state in reasons:
        found = history(linked(), conflict("waiting"))
        history(said.TicketUnlinked(*LINK, why, actor="user:ada"), found=found)
        ticket, one = found.tickets["ticket-1"], found.conflicts["c1"]
        assert (ticket.state, ticket.fields, ticket.in_step) == (state, {}, False)
        assert (one.ended, one.ended_by) == ("unlinked", "user:ada")


def test_after_a_merge_the_ticket_shows_the_incident_that_is_left() -> None:
    found = history(linked(), agreed())
    merged = said.TicketLinked(*LINK, "merged", "s1", "INC001")
    history(merged, incident="b", found=found)
    ticket = found.tickets["ticket-1"]
    assert (ticket.incident_id, ticket.fields["urgency"].theirs) == ("b", "1")


def test_a_merge_takes_a_ticket_along_as_it_is() -> None:
    """One that is being made, or could not be, is not linked by it."""
    begun, refused = [asked("ticket_create")], [asked("ticket_create"), failed("ticket_create", "refused")]
    for before, state in (begun, "creating"), (refused, "failed"):
        found = history(*before)
        history(said.TicketLinked(*LINK, "merged", ""), incident="b", found=found)
        ticket = found.tickets["ticket-1"]
        assert (ticket.incident_id, ticket.state, ticket.in_step) == ("b", state, False)
