"""The proof on a small scale, and that it can fail: defects planted in the engine are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from connectors.kit import file_attempt
from connectors.kit.ticket_attempt import TicketAttempt, TicketReport
from connectors.kit.tickets import Ticket
from streams.domain import (
    field_merge,
    file_results,
    file_sync,
    ticket_conflicts,
    ticket_history,
    ticket_intake,
    ticket_results,
    ticket_sync,
)
from streams.domain.field_merge import Verdict
from tests.sync.checks import violations
from tests.sync.machine import SyncMachine
from tests.sync.random_walk import walk

SyncMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestInterleavings = SyncMachine.TestCase


@pytest.mark.parametrize("seed", range(4))
def test_random_interleavings_come_to_rest_as_the_policies_say(seed: int) -> None:
    for number in range(25):
        assert violations(walk(f"{seed}:{number}")) == []


def _no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old snapshots count like new ones."""
    original = ticket_intake.TicketIntake.fold

    def fold(self: Any, link: Any, mapping: Any, seen: Any, *, is_read: bool) -> Any:
        del is_read
        return original(self, link._replace(version=0), mapping, seen, is_read=True)

    monkeypatch.setattr(ticket_intake.TicketIntake, "fold", fold)


def _no_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is not remembered, so its echo is news."""
    monkeypatch.setattr(ticket_results.TicketResults, "_settle", lambda *_: None)


def _no_conflicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conflicts are decided and not recorded."""
    monkeypatch.setattr(ticket_conflicts.Conflicts, "detect", lambda *_: None)


def _last_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever they have is taken."""

    def merge(mapping: Any, link: Any, sides: Any) -> Verdict:
        verdict = field_merge.merge(mapping, link, sides)
        meanings = mapping.meanings(sides.theirs or "")
        if verdict.kind and len(meanings) == 1 and not sides.can_take(meanings[0]):
            return Verdict("take", None, meanings[0])
        return verdict

    monkeypatch.setattr(ticket_sync, "merge", merge)


def _no_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes are sent without reading first, and nothing is verified."""

    async def update(self: TicketAttempt, request: Any) -> Any:
        after = await self.tickets.write(self.http, self.integration, self.intent.external_id, request.changes)
        return TicketReport("done", after, tuple(request.changes)) if isinstance(after, Ticket) else after

    monkeypatch.setattr(TicketAttempt, "_update", update)


def _no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A create is sent again without looking for the marker."""

    async def create(self: TicketAttempt, request: Any) -> Any:
        made = await self.tickets.create(self.http, self.integration, request.marker, request.changes)
        return TicketReport("done", made) if isinstance(made, Ticket) else made

    async def observe(*_: Any) -> bool:
        return True

    monkeypatch.setattr(TicketAttempt, "_create", create)
    monkeypatch.setattr(ticket_intake.TicketIntake, "observe", lambda *_: True)


def _no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown of a ticket goes on showing a conflict that is over."""
    monkeypatch.setattr(ticket_history, "_over", lambda _: None)


def _no_file_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is uploaded again without looking whether it is there."""
    monkeypatch.setattr(file_attempt, "_same", lambda *_: None)


def _no_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which files at a ticket are ours is not remembered, so that they come back as theirs."""
    monkeypatch.setattr(file_results.FileIntake, "_own", lambda *_: "")
    original = file_results.FileIntake._attached

    def attached(self: Any, link: Any, attachment_id: str, files: Any) -> None:
        del files
        original(self, link, attachment_id, ())

    monkeypatch.setattr(file_results.FileIntake, "_attached", attached)


def _no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while a ticket is being made is forgotten."""
    monkeypatch.setattr(file_sync.FileSync, "linked", lambda *_, **__: None)
    original = file_sync.FileSync.follow

    def follow(self: Any, incident_id: str, event: Any) -> None:
        links = [self.state.tickets.get(key) for key in self.state.ticket_index.of(incident_id)]
        if all(link is not None and link.phase == "linked" for link in links):
            original(self, incident_id, event)

    monkeypatch.setattr(file_sync.FileSync, "follow", follow)


DEFECTS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    _no_order,
    _no_base,
    _no_conflicts,
    _last_writer,
    _no_compare,
    _no_search,
    _no_end,
    _no_file_look,
    _no_copies,
    _no_queue,
)


@pytest.mark.parametrize("plant", DEFECTS, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_defect_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert any(violations(walk(f"planted:{number}")) for number in range(60))
