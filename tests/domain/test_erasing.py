"""Erasing a person from data and from a tenant's state."""

from __future__ import annotations

import pytest

from streams.domain import commands, events, outputs
from streams.domain.erasing import ERASED, Erasing
from streams.domain.errors import Rejected
from streams.domain.signals import ProviderIngested, Signal
from tests.domain.intake import Intake

WHO = Erasing("ada@example.com", "erased-1")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ask ada@example.com.", "ask erased-1."),
        ("ADA@Example.com, please", "erased-1, please"),
        ("canada@example.com", "canada@example.com"),
        ("ada@example.community", "ada@example.community"),
        ("user:ada@example.com", "user:erased-1"),
        ("", ""),
    ],
)
def test_an_identifier_is_found_whole_in_any_case(text: str, left: str) -> None:
    assert WHO.text(text) == left
    assert WHO.mentions(text) == (text != left)


@pytest.mark.parametrize("identifier", ["", "ab", "  a ", 'a"da', "a\\da", "a\nda", "x" * 255])
def test_what_would_match_too_much_or_nothing_is_refused(identifier: str) -> None:
    with pytest.raises(Rejected, match="3 to 254"):
        Erasing(identifier, "erased-1")


def test_what_the_person_wrote_is_gone_and_what_others_wrote_is_kept_without_the_name() -> None:
    theirs = events.NoteAdded("call me at 555", "user:ada@example.com")
    assert WHO.value(theirs) == events.NoteAdded(ERASED, "user:erased-1")
    others = events.NoteAdded("ask ada@example.com", "user:bob")
    assert WHO.value(others) == events.NoteAdded("ask erased-1", "user:bob")
    assert WHO.value(events.NoteAdded("fine", "user:bob")) == events.NoteAdded("fine", "user:bob")


def test_nested_records_mappings_and_raw_bodies_are_changed_too() -> None:
    alert = events.Alert("/s", "1", "k", "t", 0, 0, labels={"ada@example.com": "ada@example.com", "pod": "p"})
    left = WHO.value(events.AlertsAttached((alert,))).alerts[0]
    assert left.labels == {"erased-1": "erased-1", "pod": "p"}
    assert WHO.value(Signal("t", raw=b'{"to":"ada@example.com"}')).raw == b""
    assert WHO.value(Signal("t", raw=b'{"to":"ada\\u0040example.com"}')).raw == b""
    assert WHO.value(Signal("t", raw=b'{"to":"bob\\u0040example.com"}')).raw == b'{"to":"bob\\u0040example.com"}'
    assert WHO.value(Signal("t", raw=b"\\ no JSON")).raw == b"\\ no JSON"
    ingested = ProviderIngested("pagerduty", "i", "note", actor="user:ada@example.com", text="hi", raw=b"hi")
    assert WHO.value(ingested).raw == b""


def test_the_orchestrator_forgets_and_says_so() -> None:
    intake = Intake()
    intake.decide([intake.message(commands.Declare("ada@example.com is stuck", "user:bob"), "d")])
    incident = next(iter(intake.tenant.incidents))
    intake.decide([intake.message(commands.Acknowledge(incident, "user:ada@example.com"), "a")])
    intake.decide([intake.message(commands.Assign(incident, "ada@example.com", "user:bob"), "s")])
    erase = commands.Erase("ada@example.com", "erased-1", "operator:root", "asked by ada@example.com")
    (recorded,) = intake.send(erase)
    assert recorded == events.Configured("erasure", "erased-1", "operator:root", {"reason": "asked by erased-1"})
    known = intake.tenant.incidents.get(incident)
    assert known is not None
    assert (known.title, known.acknowledged_by, known.assignee) == ("erased-1 is stuck", "user:erased-1", "erased-1")
    assert "ada@example" not in repr([list(intake.tenant.table(kind).values()) for kind in ("incident", "outcome")])


def test_a_command_with_a_bad_identifier_is_rejected() -> None:
    result = Intake().command(commands.Erase("x", "erased-1", "operator:root"))
    assert isinstance(result, outputs.CommandRejected)
    assert result.reason == "empty-value"
