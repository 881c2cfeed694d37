"""Files and links between an incident and its tickets: who gets what, once; what comes back, is gone or refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from streams.agents import state_codec
from streams.domain import commands, outputs
from streams.domain import ticket_events as said
from streams.domain.attachment_commands import AddLink, AttachFile, RemoveAttachment, RemoveLink
from streams.domain.attachment_events import AttachmentAdded
from streams.domain.attachments import Attached, HeldFile
from streams.domain.erasing import Erasing
from streams.domain.ticket_commands import LinkTicket, ReconcileTickets, SetMapping, UnlinkTicket
from streams.domain.ticket_files import (
    FILE_ACTIONS,
    Copy,
    FilesObserved,
    RecordFiles,
    RemoteFile,
    TicketFiles,
    file_request_of,
)
from streams.domain.ticket_history import tickets
from streams.domain.ticket_link import ticket_id
from streams.domain.tickets import RecordTicket, request_of
from tests.domain.intake import Intake
from tests.domain.test_ticket_sync import mapped

SHA = "ab" * 32
SYSTEMS = {"int_1": "servicenow", "int_2": "jira"}


@dataclass
class Desk:
    """A tenant with one incident and a ticket in each of two systems, which answer as the test says."""

    comments: Any = "both"
    systems: tuple[str, ...] = ("int_1", "int_2")
    intake: Intake = field(default_factory=Intake)
    answered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for integration in self.systems:
            connector = SYSTEMS[integration]
            self.intake.command(
                SetMapping(integration, connector, 1, mapped(), "user:ada", ("SEV-3",), comments=self.comments)
            )
        self.intake.command(commands.Declare("Checkout down", "user:ada"))
        [self.incident] = self.intake.declared()

    def linked(self) -> Desk:
        """With both tickets made."""
        for integration in self.systems:
            self.answer_ticket(integration)
        return self

    def open(self, integration: str, *, files: bool = True) -> list[outputs.Intent]:
        """The intents of a system, about files or else not, that were not answered."""
        return [
            one
            for one in self.intake.intents
            if one.integration_id == integration
            and (one.action in FILE_ACTIONS) == files
            and one.intent_id not in self.answered
        ]

    def answer_ticket(self, integration: str, status: Any = "done", **more: Any) -> None:
        """The dispatcher's answer to what is under way about the ticket itself."""
        [intent] = self.open(integration, files=False)
        self.answered.add(intent.intent_id)
        values: dict[str, Any] = {"external_id": f"T-{integration}", "version": 1, **more}
        values["fields"] = dict(request_of(intent.payload).changes) if intent.action == "ticket_create" else {}
        self.intake.send(
            RecordTicket(
                intent.incident_id, intent.intent_id, intent.connector, integration, intent.action, status, **values
            )
        )

    def answer(self, integration: str, *files: RemoteFile, status: Any = "done", detail: str = "") -> None:
        """The dispatcher's answer to what is under way about files."""
        [intent] = self.open(integration)
        self.answered.add(intent.intent_id)
        result = RecordFiles(
            intent.incident_id, intent.intent_id, intent.connector, integration, intent.action, status, 1, files, detail
        )
        self.intake.send(result)

    def attach(self, name: str = "heap.txt", size: int = 3, incident: str = "") -> str:
        """A person attaches a file; its id."""
        self.intake.command(AttachFile(incident or self.incident, name, "text/plain", size, SHA, "user:ada"))
        return self.held().files[-1].attachment_id if not incident else ""

    def held(self) -> Attached:
        return self.intake.tenant.attached.get(self.incident) or Attached()

    def files(self, integration: str) -> TicketFiles:
        """What is remembered of a ticket's files."""
        return self.intake.tenant.ticket_files.get(ticket_id(self.incident, integration)) or TicketFiles()

    def actions(self, integration: str) -> list[str]:
        """The intents about files of a system so far."""
        return [i.action for i in self.intake.intents if i.integration_id == integration and i.action in FILE_ACTIONS]

    def see(self, integration: str, *ids: str, complete: bool = True) -> None:
        """A webhook or a poll shows which files a ticket has."""
        self.intake.send(FilesObserved(SYSTEMS[integration], integration, f"T-{integration}", ids, complete))

    def of(self, kind: type) -> list[Any]:
        return [one.event for one in self.intake.recorded if isinstance(one.event, kind)]


def theirs(id_: str = "f1", name: str = "core.txt", **more: Any) -> RemoteFile:
    """A file that a person put on a ticket."""
    return RemoteFile(id_, name, "text/plain", 9, "servicenow:beth", **more)


def test_a_file_goes_to_each_ticket_once() -> None:
    desk = Desk().linked()
    id_ = desk.attach()
    for integration in SYSTEMS:
        [intent] = desk.open(integration)
        request = file_request_of(intent.payload)
        assert (intent.action, intent.external_id) == ("ticket_attach", f"T-{integration}")
        assert (request.attachment_id, request.file_name, request.size, request.sha256) == (id_, "heap.txt", 3, SHA)
        desk.answer(integration, RemoteFile("r1"), detail="heap.txt")
        assert desk.files(integration).copies == (Copy("r1", id_),)
        assert desk.open(integration) == []
    for integration in SYSTEMS:  # its echo, by webhook or by poll
        desk.see(integration, "r1")
        assert desk.actions(integration) == ["ticket_attach"]
    assert len(desk.of(AttachmentAdded)) == 1
    assert [one.detail for one in desk.of(said.SyncCompleted) if one.action == "ticket_attach"] == ["heap.txt"] * 2


def test_files_and_links_that_were_there_before_the_ticket_go_to_it() -> None:
    desk = Desk()
    desk.attach("a.txt")
    gone = desk.attach("b.txt")
    desk.intake.command(RemoveAttachment(desk.incident, gone, "user:ada"))
    desk.intake.command(AddLink(desk.incident, "https://a.example/", "user:ada", "A"))
    desk.linked()
    for integration in SYSTEMS:
        desk.answer(integration, RemoteFile("r1"))
        assert desk.actions(integration) == ["ticket_attach"]
        [refer] = desk.open(integration, files=False)
        request = request_of(refer.payload)
        assert (refer.action, request.changes["url"], request.changes["title"]) == (
            "ticket_refer", "https://a.example/", "A",
        )  # fmt: skip
        assert request.marker == refer.intent_id
        assert "https://a.example/" in request.text


def test_links_wait_for_what_is_under_way_and_go_once() -> None:
    desk = Desk(systems=("int_2",)).linked()
    desk.intake.command(commands.ChangeFields(desk.incident, {"title": "Other"}, "user:ada"))
    for url in ("https://a.example/", "https://b.example/", "https://c.example/"):
        desk.intake.command(AddLink(desk.incident, url, "user:ada"))
    desk.intake.command(RemoveLink(desk.incident, desk.held().links[1].link_id, "user:ada"))
    sent = []
    for _ in range(3):
        [intent] = desk.open("int_2", files=False)
        sent.append((intent.action, request_of(intent.payload).changes.get("url", "")))
        desk.answer_ticket("int_2", "done" if len(sent) < 3 else "failed")
    assert sent == [
        ("ticket_update", ""), ("ticket_refer", "https://a.example/"), ("ticket_refer", "https://c.example/"),
    ]  # fmt: skip
    assert desk.open("int_2", files=False) == [], "what was refused is not tried for ever"
    assert [one.action for one in desk.of(said.SyncFailed)] == ["ticket_refer"]


def test_a_file_of_a_ticket_comes_in_once_and_goes_to_the_other() -> None:
    desk = Desk().linked()
    for _ in range(2):
        desk.see("int_1", "f1")
    assert desk.actions("int_1") == ["ticket_list_files"]
    desk.answer("int_1", theirs())
    [fetch] = desk.open("int_1")
    assert (fetch.action, fetch.payload["file_id"]) == ("ticket_fetch", "f1")
    desk.answer("int_1", theirs(sha256=SHA))
    [added] = desk.of(AttachmentAdded)
    assert (added.file_name, added.sha256, added.actor, added.how) == ("core.txt", SHA, "servicenow:beth", "ticket")
    assert (added.via, added.ticket_id, added.external_id) == ("int_1", ticket_id(desk.incident, "int_1"), "f1")
    assert desk.open("int_1") == [], "not back to where it came from"
    [other] = desk.open("int_2")
    assert (other.action, other.payload["file_name"]) == ("ticket_attach", "core.txt")
    desk.answer("int_2", RemoteFile("r2"))
    for integration, id_ in (("int_1", "f1"), ("int_2", "r2")):
        desk.see(integration, id_)
    desk.intake.command(ReconcileTickets("", "system:poller"))
    desk.answer("int_1", RemoteFile("f1"))
    desk.answer("int_2", RemoteFile("r2"))
    assert len(desk.of(AttachmentAdded)) == 1
    assert desk.actions("int_1") == ["ticket_list_files", "ticket_fetch", "ticket_list_files"]


def test_a_file_that_is_too_large_is_recorded_and_stays_there() -> None:
    desk = Desk().linked()
    desk.see("int_1", "f1")
    desk.answer("int_1", theirs())
    desk.answer("int_1", theirs(problem="99 bytes, at most 10 are taken"))
    [file] = desk.held().files
    assert (file.problem, file.sha256) == ("99 bytes, at most 10 are taken", "")
    assert desk.open("int_2") == [], "there is nothing to send on"
    desk.see("int_1", "f1")
    assert desk.open("int_1") == []


def test_a_file_that_cannot_be_fetched_is_recorded_with_why() -> None:
    desk = Desk().linked()
    desk.see("int_1", "f1", "f2")
    desk.answer("int_1", theirs(), theirs("f2"))
    desk.answer("int_1", status="failed", detail="HTTP 403")
    desk.answer("int_1", status="gone", detail="deleted meanwhile")
    assert [one.problem for one in desk.held().files] == ["HTTP 403"]
    assert [(one.action, one.kind) for one in desk.of(said.SyncFailed)] == [
        ("ticket_fetch", "refused"), ("ticket_fetch", "gone"),
    ]  # fmt: skip
    assert desk.open("int_1") == []


def test_a_file_deleted_at_a_ticket_is_an_event_and_stays_here() -> None:
    desk = Desk().linked()
    id_ = desk.attach()
    for integration in SYSTEMS:
        desk.answer(integration, RemoteFile("r1"))
    for _ in range(2):
        desk.see("int_1")
        desk.answer("int_1") if desk.open("int_1") else None
    [gone] = desk.of(said.TicketFileGone)
    assert (gone.attachment_id, gone.external_id, gone.integration_id) == (id_, "r1", "int_1")
    assert [one.attachment_id for one in desk.held().files] == [id_]
    assert "ticket_attach" not in [one.action for one in desk.open("int_1")], "nobody puts it back"


def test_a_refused_upload_is_shown_and_sent_again_only_when_somebody_asks() -> None:
    desk = Desk(systems=("int_1",)).linked()
    id_ = desk.attach()
    desk.answer("int_1", status="failed", detail="heap.txt: HTTP 400: type is not allowed")
    key = ticket_id(desk.incident, "int_1")
    shown = tickets((one.envelope, one.event) for one in desk.intake.recorded).tickets[key]
    assert shown.last_failure == "ticket_attach: refused: heap.txt: HTTP 400: type is not allowed"
    assert (shown.state, shown.under_way, shown.in_step) == ("linked", "", True)
    assert desk.files("int_1").failed == (id_,)
    desk.intake.command(ReconcileTickets("", "system:poller"))
    assert desk.open("int_1") == []
    desk.intake.command(ReconcileTickets(desk.incident, "user:ada"))
    assert [one.action for one in desk.open("int_1")] == ["ticket_attach"]


def test_an_upload_that_was_never_reported_is_known_again_in_the_list() -> None:
    desk = Desk(systems=("int_1",)).linked()
    id_ = desk.attach()
    desk.answer("int_1", status="failed", detail="given up: no answer in time")
    desk.see("int_1", "r1")
    desk.answer("int_1", RemoteFile("r1", "heap.txt", "text/plain", 3, "servicenow:incidents"))
    assert desk.files("int_1").copies == (Copy("r1", id_),)
    assert desk.files("int_1").failed == ()
    assert len(desk.of(AttachmentAdded)) == 1, "our own file does not come back"


def test_two_files_that_look_the_same_are_two() -> None:
    desk = Desk(systems=("int_2",)).linked()
    desk.attach("core")
    second = desk.attach("core")
    desk.answer("int_2", RemoteFile("r1"))
    [intent] = desk.open("int_2")
    assert (intent.payload["attachment_id"], intent.payload["known"]) == (second, "r1")


def test_a_transfer_holds_up_no_edit_and_no_edit_a_transfer() -> None:
    desk = Desk(systems=("int_1",)).linked()
    desk.attach()
    desk.intake.command(commands.ChangeFields(desk.incident, {"title": "Other"}, "user:ada"))
    assert [i.action for i in desk.open("int_1", files=False)] == ["ticket_update"]
    key = ticket_id(desk.incident, "int_1")
    shown = tickets((one.envelope, one.event) for one in desk.intake.recorded).tickets[key]
    assert shown.under_way == "ticket_update"


@pytest.mark.parametrize(("comments", "out", "into"), [("out", 1, 0), ("in", 0, 1), ("none", 0, 0), ("both", 1, 1)])
def test_files_and_links_go_the_way_that_comments_go(comments: str, out: int, into: int) -> None:
    desk = Desk(comments, systems=("int_1",)).linked()
    desk.see("int_1", "f1")
    assert desk.actions("int_1").count("ticket_list_files") == into
    if into:
        desk.answer("int_1")
    desk.attach()
    desk.intake.command(AddLink(desk.incident, "https://a.example/", "user:ada"))
    assert desk.actions("int_1").count("ticket_attach") == out
    assert len(desk.open("int_1", files=False)) == out


def test_after_a_merge_both_tickets_get_what_they_lack() -> None:
    desk = Desk(systems=("int_1",)).linked()
    desk.attach("one.txt")
    desk.answer("int_1", RemoteFile("r1"))
    desk.intake.command(commands.Declare("The same", "user:ada"))
    other = desk.intake.declared()[1]
    desk.answer_ticket("int_1", external_id="T-other")
    desk.attach("two.txt", incident=other)
    desk.answer("int_1", RemoteFile("r2"))
    desk.intake.command(commands.Merge(other, desk.incident, "user:ada"))
    sent = {(one.external_id, one.payload["file_name"]) for one in desk.open("int_1")}
    assert sent == {("T-int_1", "two.txt")}, "the ticket that came with the merge has its own; it gets what comes now"
    desk.intake.command(ReconcileTickets(desk.incident, "user:ada"))
    sent = {(one.external_id, one.payload["file_name"]) for one in desk.open("int_1")}
    assert sent == {("T-int_1", "two.txt"), ("T-other", "one.txt")}, "and the rest when somebody asks"
    assert [one.file_name for one in desk.held().files] == ["one.txt", "two.txt"]


def test_linking_an_existing_ticket_brings_its_files_in() -> None:
    desk = Desk(systems=("int_1",)).linked()
    desk.intake.command(UnlinkTicket(desk.incident, ticket_id(desk.incident, "int_1"), "user:ada"))
    assert desk.files("int_1") == TicketFiles(), "no intent was made yet"
    desk.intake.command(LinkTicket(desk.incident, "int_1", "user:ada", "INC0010007"))
    desk.answer_ticket("int_1")
    assert [one.action for one in desk.open("int_1")] == ["ticket_list_files"]


def test_an_answer_that_nobody_waits_for_is_refused() -> None:
    desk = Desk(systems=("int_1",)).linked()
    desk.attach()
    [intent] = desk.open("int_1")
    desk.intake.command(UnlinkTicket(desk.incident, ticket_id(desk.incident, "int_1"), "user:ada"))
    result = desk.intake.command(
        RecordFiles(desk.incident, intent.intent_id, "servicenow", "int_1", "ticket_attach", "done")
    )
    assert isinstance(result, outputs.CommandRejected)
    assert result.reason == "not-due"


def test_a_hint_about_a_ticket_that_is_being_made_is_not_lost() -> None:
    desk = Desk(systems=("int_1",))
    desk.see("int_1", "f1")
    assert desk.actions("int_1") == []
    desk.linked()
    assert desk.actions("int_1") == ["ticket_list_files"]


def test_hints_about_tickets_that_are_not_ours_leave_no_trace() -> None:
    desk = Desk().linked()
    before = len(desk.intake.recorded)
    desk.intake.send(FilesObserved("servicenow", "int_1", "unknown", ("f1",), True))
    assert len(desk.intake.recorded) == before


def test_the_state_is_written_and_read_back() -> None:
    held = TicketFiles(
        ("a",), ("b",), (theirs(),), (Copy("r", "a", gone=True),), ("l",), unlisted=True, intent="i", action="x",
        item="y", requests=3,
    )  # fmt: skip
    assert state_codec.decode("ticket_files", state_codec.encode("ticket_files", held)) == held


def test_what_an_erasure_leaves_is_decided_alike() -> None:
    who = Erasing("beth@example.com", "erased-1")
    file = RemoteFile("f1", "beth's cv.pdf", "application/pdf", 9, "servicenow:beth@example.com")
    desks = Desk().linked(), Desk().linked()
    for desk, erased in zip(desks, (False, True), strict=True):
        one = who.value(file) if erased else file
        desk.see("int_1", "f1")
        desk.answer("int_1", one)
        desk.answer("int_1", who.value(RemoteFile(**{**_fields(file), "sha256": SHA})) if erased else _with(file))
        desk.intake.command(commands.Erase("beth@example.com", "erased-1", "user:ada"))
    kept, again = ([one.event for one in desk.intake.recorded] for desk in desks)
    assert [who.value(one) for one in kept] == again
    assert desks[0].held() == desks[1].held()
    assert desks[0].files("int_1") == desks[1].files("int_1")
    [left] = desks[0].held().files
    assert isinstance(left, HeldFile)
    assert (left.file_name, left.sha256, left.actor) == ("[erased]", "", "servicenow:erased-1")


def _fields(file: RemoteFile) -> dict[str, Any]:
    return {name: getattr(file, name) for name in ("external_id", "file_name", "media_type", "size", "actor")}


def _with(file: RemoteFile) -> RemoteFile:
    return RemoteFile(**_fields(file), sha256=SHA)


def test_a_ticket_that_is_lost_is_not_linked_again_by_a_merge() -> None:
    desk = Desk(systems=("int_1",)).linked()
    desk.intake.command(UnlinkTicket(desk.incident, ticket_id(desk.incident, "int_1"), "user:ada"))
    desk.intake.command(commands.Declare("The same", "user:ada"))
    desk.intake.command(commands.Merge(desk.incident, desk.intake.declared()[1], "user:ada"))
    shown = tickets((one.envelope, one.event) for one in desk.intake.recorded)
    assert shown.tickets[ticket_id(desk.incident, "int_1")].state == "unlinked"
