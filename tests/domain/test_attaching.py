"""Files and links of an incident: what may be attached, what a merge brings, and what an erasure leaves."""

from __future__ import annotations

from typing import Any

import pytest

from streams.agents import state_codec
from streams.domain import commands
from streams.domain.attachment_commands import AddLink, AttachFile, RemoveAttachment, RemoveLink
from streams.domain.attachment_events import AttachmentAdded, AttachmentEvent, AttachmentRemoved, LinkAdded, LinkRemoved
from streams.domain.attachment_history import attachments
from streams.domain.attachments import (
    MAX_FILES,
    MAX_NAME,
    Attached,
    attachment_id,
    media_type,
    refused_link,
    safe_file_name,
)
from streams.domain.erasing import ERASED, Erasing
from streams.domain.events import SplitAlert
from streams.domain.outputs import CommandRejected
from tests.domain.intake import T0, Intake, signal

SHA = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"


class Case:
    """A tenant with declared incidents."""

    def __init__(self, incidents: int = 1) -> None:
        self.intake = Intake()
        for number in range(incidents):
            self.intake.command(commands.Declare(f"incident {number}", "user:ada"))
        self.ids = self.intake.declared()

    def attach(self, name: str = "heap.txt", place: int = 0, actor: str = "user:ada", **more: Any) -> str:
        """Attach a file; its id."""
        values = {"media_type": "text/plain", "size": 3, "sha256": SHA, **more}
        message = self.intake.message(AttachFile(self.ids[place], name, actor=actor, **values))
        self.intake.decide([message])
        return attachment_id(self.ids[place], message.envelope.id)

    def held(self, place: int = 0) -> Attached:
        """What the state holds of an incident."""
        return self.intake.tenant.attached.get(self.ids[place]) or Attached()

    def names(self, place: int = 0) -> list[str]:
        """The names of its files."""
        return [one.file_name for one in self.held(place).files]

    def refused(self, command: Any) -> str:
        """Why a command was refused; empty when it was not."""
        self.intake.command(command)
        outcome = self.intake.results[-1]
        return outcome.reason if isinstance(outcome, CommandRejected) else ""

    def events(self) -> list[AttachmentEvent]:
        """What was recorded of files and links."""
        return [one.event for one in self.intake.recorded if isinstance(one.event, AttachmentEvent)]


def test_a_file_is_attached_listed_and_taken_away() -> None:
    case = Case()
    id_ = case.attach()
    [file] = case.held().files
    assert (file.attachment_id, file.file_name, file.size, file.sha256, file.actor) == (
        id_, "heap.txt", 3, SHA, "user:ada",
    )  # fmt: skip
    assert case.refused(RemoveAttachment(case.ids[0], id_, "user:bob")) == ""
    assert case.held() == Attached()
    assert [type(one) for one in case.events()] == [AttachmentAdded, AttachmentRemoved]
    assert case.refused(RemoveAttachment(case.ids[0], id_, "user:bob")) == "unknown-attachment"
    assert case.intake.incident(case.ids[0]).revision == 1, "people who edit fields are not disturbed"


def test_the_same_command_again_attaches_nothing_more() -> None:
    case = Case()
    command = AttachFile(case.ids[0], "a.txt", "text/plain", 3, SHA, "user:ada")
    for _ in range(2):
        case.intake.decide([case.intake.message(command, "the-key")])
    assert case.names() == ["a.txt"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file_name": ""}, "invalid-file"),
        ({"file_name": "../etc/passwd"}, "invalid-file"),
        ({"file_name": "a\\b"}, "invalid-file"),
        ({"file_name": "a\nb"}, "invalid-file"),
        ({"file_name": "x" * 501}, "too-long"),
        ({"media_type": "text/html; charset=utf-8"}, "invalid-file"),
        ({"media_type": "nonsense"}, "invalid-file"),
        ({"size": 0}, "invalid-file"),
        ({"size": -1}, "invalid-file"),
        ({"sha256": "ABC"}, "invalid-file"),
        ({"sha256": ""}, "invalid-file"),
        ({"incident_id": "nobody"}, "unknown-incident"),
    ],
)
def test_files_that_are_refused(change: dict[str, Any], reason: str) -> None:
    case = Case()
    given = {"incident_id": case.ids[0], "file_name": "a", "media_type": "text/plain", "size": 1, "sha256": SHA}
    assert case.refused(AttachFile(actor="user:ada", **{**given, **change})) == reason
    assert case.held() == Attached()


def test_an_incident_holds_so_many_files_and_no_more() -> None:
    case = Case()
    for number in range(MAX_FILES):
        case.attach(f"{number}.txt")
    assert case.refused(AttachFile(case.ids[0], "more.txt", "text/plain", 3, SHA, "user:ada")) == "too-many"
    assert len(case.names()) == MAX_FILES


def test_a_link_is_added_renamed_and_taken_away() -> None:
    case = Case()
    url = "https://grafana.example/d/7?a=b#c"
    assert case.refused(AddLink(case.ids[0], url, "user:ada")) == ""
    [link] = case.held().links
    assert (link.url, link.title) == (url, url)
    assert case.refused(AddLink(case.ids[0], url, "user:bob", "The  graph ")) == ""
    assert case.refused(AddLink(case.ids[0], url, "user:eve", "The graph")) == ""
    [renamed] = case.held().links
    assert (renamed.link_id, renamed.title, renamed.actor) == (link.link_id, "The graph", "user:bob")
    assert renamed.added_at == link.added_at
    assert case.refused(RemoveLink(case.ids[0], link.link_id, "user:ada")) == ""
    assert case.refused(RemoveLink(case.ids[0], link.link_id, "user:ada")) == "unknown-link"
    assert [type(one) for one in case.events()] == [LinkAdded, LinkAdded, LinkRemoved]


@pytest.mark.parametrize(
    "url",
    [
        "", "grafana", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://", "//host/x",
        "https://a b/", "https://host/\u202e", "https://user:secret@host/", "https://host:99999/", "http://[::1",
        "https://host/" + "x" * 2_000,
    ],
)  # fmt: skip
def test_addresses_that_are_no_links(url: str) -> None:
    assert refused_link(url)
    case = Case()
    assert case.refused(AddLink(case.ids[0], url, "user:ada")) == "invalid-link"


def test_after_a_merge_the_files_and_links_are_the_targets() -> None:
    case = Case(2)
    own, brought = case.attach("own.txt", 0), case.attach("brought.txt", 1)
    for place, url in ((0, "https://a.example/"), (1, "https://a.example/"), (1, "https://b.example/")):
        case.intake.command(AddLink(case.ids[place], url, "user:ada"))
    before = case.held(1).files[0]
    case.intake.command(commands.Merge(case.ids[1], case.ids[0], "user:bob"))
    assert [one.attachment_id for one in case.held(0).files] == [own, brought]
    assert case.held(0).files[1] == before
    assert [one.url for one in case.held(0).links] == ["https://a.example/", "https://b.example/"]
    assert case.refused(AttachFile(case.ids[1], "late.txt", "text/plain", 3, SHA, "user:ada")) == "merged-incident"
    shown = attachments((one.envelope, one.event) for one in case.intake.recorded)
    assert {one.incident_id for one in shown.files.values()} == {case.ids[0]}
    assert shown.files[brought].added_at == before.added_at


def test_a_split_leaves_files_where_they_are() -> None:
    case = Case(0)
    case.intake.send(signal("fp-1"), signal("fp-2"))
    case.ids = case.intake.declared()
    case.attach()
    [key, _] = sorted(case.intake.tenant.alerts_of[case.ids[0]])
    alert = SplitAlert(key, 1, T0, T0)
    result = case.intake.command(commands.Split(case.ids[0], (alert,), "user:ada", title="Another"))
    assert not isinstance(result, CommandRejected), result
    case.ids = case.intake.declared()
    assert (len(case.ids), case.names(0), case.names(1)) == (2, ["heap.txt"], [])


def test_what_is_shown_is_what_is_held() -> None:
    case = Case()
    gone = case.attach("gone.txt")
    case.attach("stays.txt")
    case.intake.command(AddLink(case.ids[0], "https://a.example/", "user:ada"))
    case.intake.command(RemoveAttachment(case.ids[0], gone, "user:bob"))
    shown = attachments((one.envelope, one.event) for one in case.intake.recorded)
    assert {one.file_name: (one.state, one.removed_by) for one in shown.files.values()} == {
        "gone.txt": ("removed", "user:bob"), "stays.txt": ("held", ""),
    }  # fmt: skip
    assert [one.url for one in shown.links.values()] == [one.url for one in case.held().links]


def test_the_state_is_written_and_read_back() -> None:
    case = Case()
    case.attach()
    case.intake.command(AddLink(case.ids[0], "https://a.example/", "user:ada", "A"))
    assert state_codec.decode("attached", state_codec.encode("attached", case.held())) == case.held()


def test_an_archived_incident_is_forgotten_with_its_files() -> None:
    case = Case()
    case.attach()
    case.intake.command(commands.ChangeState(case.ids[0], "canceled", "user:ada"))
    cause = case.intake.incident(case.ids[0]).status_event
    case.intake.command(commands.FireTimer(case.ids[0], "archive", case.intake.now, cause))
    assert case.held() == Attached()


def test_what_an_erasure_leaves_is_decided_alike() -> None:
    case, again = Case(), Case()
    who = Erasing("grace@example.com", "erased-1")
    command = AttachFile(case.ids[0], "cv of grace.pdf", "application/pdf", 9, SHA, "user:grace@example.com")
    case.intake.decide([case.intake.message(command, "c1")])
    left = who.value(command)
    assert (left.file_name, left.sha256, left.actor, left.size) == (ERASED, "", "user:erased-1", 9)
    again.intake.decide([again.intake.message(left, "c1")])
    for one in (case, again):
        one.intake.command(commands.Erase("grace@example.com", "erased-1", "user:ada"))
    assert case.held() == again.held()
    assert [who.value(one) for one in case.events()] == again.events()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\crash.log", "crash.log"),
        ("tab\there", "tab here"),
        ("a\r\nX: y.txt", "a X: y.txt"),
        ("  spaced   out .txt ", "spaced out .txt"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("nul\0.txt", "nul.txt"),
        ("...", ""),
        ("", ""),
        ("/", ""),
        ("größe.txt", "größe.txt"),
        ("x" * 300 + ".log", "x" * (MAX_NAME - 4) + ".log"),
        ("x" * 300, "x" * MAX_NAME),
    ],
)
def test_names_are_made_safe(given: str, name: str) -> None:
    assert safe_file_name(given) == name
    assert safe_file_name(name) == name


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("text/plain", "text/plain"),
        ("Text/HTML; charset=utf-8", "text/html"),
        ("application/vnd.ms-excel", "application/vnd.ms-excel"),
        ("", "application/octet-stream"),
        ("text", "application/octet-stream"),
        ("text/plain\r\nX: y", "application/octet-stream"),
    ],
)
def test_media_types_are_plain(given: str, found: str) -> None:
    assert media_type(given) == found
