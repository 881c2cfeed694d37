"""What has to hold when both sides have come to rest."""

from __future__ import annotations

from collections import Counter

from streams.domain import events
from streams.domain import ticket_events as said
from streams.domain.attachment_events import AttachmentAdded
from streams.domain.attachments import Attached
from streams.domain.mapping import FieldMapping
from streams.domain.ticket_files import TicketFiles
from streams.domain.ticket_history import tickets
from tests.domain.intake import Intake
from tests.sync.world import World

_SYNC = ("servicenow:", "integration:")


def violations(world: World) -> list[str]:
    """Everything that is wrong; empty when all holds."""
    found = []
    rounds = world.settle()
    if rounds >= 60:
        found.append("no rest: it still writes or records after 60 rounds")
    before = world.provider.writes
    world.settle(2)
    if world.provider.writes != before:
        found.append(f"{world.provider.writes - before} writes after quiescence")
    found += _divergent(world)
    found += _lost_theirs(world)
    found += _lost_ours(world)
    found += _tickets(world)
    found += _policies(world)
    found += _comments(world)
    found += _files(world)
    found += _shown(world)
    found += _replay(world)
    return found


def _event(world: World, *kinds: type) -> list[events.Event]:
    return [one.event for one in world.intake.recorded if isinstance(one.event, kinds)]


def _divergent(world: World) -> list[str]:
    """Both sides of each field say the same, or an open conflict says why not."""
    found = []
    for link in world.links():
        if link.phase == "lost":
            continue
        if link.phase != "linked" or link.intent or link.comments or link.duplicates:
            found.append(f"ticket {link.external_id or 'none'} is left {link.phase} with {link.action or 'more to do'}")
            continue
        incident = world.intake.incident(link.follows)
        ticket = world.provider.tickets[link.external_id]
        for one in world.fields:
            ours, theirs = getattr(incident, one.field), ticket.fields[one.external_field]
            if not one.agrees(ours, theirs) and not link.field(one.external_field).conflict:
                found.append(f"{one.field} diverges without a conflict: {ours!r} and {theirs!r}")
    return found


def _shown(world: World) -> list[str]:
    """What the fold of the record shows (read models, API, command line) is what the engine remembers."""
    shown = tickets((one.envelope, one.event) for one in world.intake.recorded)
    found = []
    for link in world.links():
        ticket = shown.tickets.get(link.ticket_id)
        if ticket is None or ticket.incident_id != link.follows:
            found.append(f"ticket {link.external_id} is not shown with its incident")
            continue
        open_ = {one.external_field: (one.conflict, one.waiting) for one in link.fields if one.conflict}
        told = {one.external_field: (one.conflict_id, one.waiting) for one in ticket.divergent}
        if open_ != told:
            found.append(f"ticket {link.external_id}: open are {open_}, shown are {told}")
        ended = [one for one in ticket.divergent if shown.conflicts[one.conflict_id].ended]
        if ended:
            found.append(f"ticket {link.external_id}: {ended} are open, and ended")
        if (link.phase == "linked") != (ticket.state == "linked") or ticket.under_way != link.action:
            found.append(
                f"ticket {link.external_id}: {link.phase} {link.action}, shown {ticket.state} {ticket.under_way}"
            )
    known = {one.conflict_id for ticket in shown.tickets.values() for one in ticket.divergent}
    found += [
        f"{one} is open on no ticket"
        for one in shown.conflicts.values()
        if not one.ended and one.conflict_id not in known
    ]
    return found


def _lost_theirs(world: World) -> list[str]:
    """What a write of ours replaced of a person's is known: taken before, or named by a conflict."""
    known: set[tuple[str, str, str]] = set()
    raced: set[tuple[str, str]] = set()
    for event in _event(world, said.ConflictDetected, said.ProviderAck, said.SyncCompleted):
        if isinstance(event, said.ConflictDetected):
            known.add((event.external_id, event.external_field, event.theirs))
            if event.kind == "raced":
                raced.add((event.external_id, event.external_field))
        elif isinstance(event, said.ProviderAck | said.SyncCompleted):
            known |= {(event.external_id, one.external_field, one.theirs) for one in event.fields}
    return [
        f"their {one.field} {one.value!r} was lost to {one.by!r}"
        for one in world.provider.lost
        if not world.provider.tickets[one.external_id].deleted
        and (one.external_id, one.field, one.value) not in known
        and (one.external_id, one.field) not in raced
    ]


def _lost_ours(world: World) -> list[str]:
    """What was taken over a person's value of ours is known: that value was at theirs before, or in a conflict."""
    found = []
    names = {one.field for one in world.fields}
    known: set[tuple[str, str, str]] = set()
    people: dict[tuple[str, str], str] = {}
    for recorded in world.intake.recorded:
        event, incident = recorded.event, recorded.envelope.subject
        if isinstance(event, said.ConflictDetected):
            known.add((incident, event.field, event.ours))
        elif isinstance(event, said.ProviderAck | said.SyncCompleted):
            known |= {(incident, one.field, one.ours) for one in event.fields}
        field, value = _edit(event)
        if field not in names:
            continue
        actor = getattr(event, "actor", "")
        was = people.pop((incident, field), None)
        if actor.startswith(_SYNC):
            if was is not None and was != value and (incident, field, was) not in known:
                found.append(f"our {field} {was!r} was lost to {value!r}")
        else:
            people[incident, field] = value
    return found


def _edit(event: events.Event) -> tuple[str, str]:
    match event:
        case events.FieldChanged(field, value):
            return field, value
        case events.SeverityChanged(severity):
            return "severity", severity
        case events.Assigned(assignee):
            return "assignee", assignee
        case events.StateChange(to=to) | events.Closed(to=to):
            return "status", to
        case events.Resolved():
            return "status", "resolved"
        case _:
            return "", ""


def _tickets(world: World) -> list[str]:
    """One live ticket with its marker for each link."""
    markers = Counter(ticket.marker for ticket in world.provider.live() if ticket.marker)
    return [
        f"{markers[link.marker]} tickets with the marker of {link.external_id}"
        for link in world.links()
        if link.phase == "linked" and markers[link.marker] != 1
    ]


def _policies(world: World) -> list[str]:
    """Each decision is the one that its policy says, by its own inputs."""
    found = []
    by_external = {one.external_field: one for one in world.fields}
    for event in _event(world, said.ConflictDetected):
        assert isinstance(event, said.ConflictDetected)
        if event.kind in {"raced", "overwritten", "refused", "rewritten", "contested"}:
            continue
        allowed = _allowed(event, by_external[event.external_field])
        if event.result not in allowed:
            found.append(f"{event.policy} of {event.field} came to {event.result}, not {allowed}: {event.explanation}")
    return found


def _allowed(event: said.ConflictDetected, one: FieldMapping) -> tuple[str, ...]:
    """The results that the policy's sentence in ADR 0007 leaves open for these inputs."""
    clear = len(one.meanings(event.theirs)) == 1
    match event.policy:
        case "manual":
            return ("waiting",)
        case "internal_wins":
            return ("ours",) if one.image(event.ours) is not None else ("kept",)
        case "external_wins":
            return ("theirs", "kept") if clear else ("kept",)
        case "most_recent_allowed" if event.kind in {"both_changed", "first"} and one.field == "assignee":
            return ("theirs",) if event.theirs_at > event.ours_at else ("ours",)
        case _:
            return ("ours", "theirs", "kept") if clear else ("ours", "kept")


def _comments(world: World) -> list[str]:
    """Each note is on each ticket that followed at most once, and on a ticket that was never lost exactly once."""
    found = []
    for ticket in world.provider.tickets.values():
        counted = Counter(note for note in world.notes for text in ticket.comments if text.startswith(f"{note}\n"))
        found += [
            f"{note!r} stands {count} times on {ticket.external_id}" for note, count in counted.items() if count > 1
        ]
    return found


def _files(world: World) -> list[str]:
    """Each file is on each ticket that should have it, once; each of theirs is here, once; nothing is left to do."""
    found = []
    for link in world.links():
        files = world.intake.tenant.ticket_files.get(link.ticket_id) or TicketFiles()
        if link.phase != "linked":
            continue
        if files.intent or files.outgoing or files.incoming or files.links or files.unlisted or files.failed:
            found.append(f"files of ticket {link.external_id} are left: {files}")
        ticket = world.provider.tickets[link.external_id]
        held = (world.intake.tenant.attached.get(link.follows) or Attached()).files
        there = Counter(one.file_name for one in ticket.files.values())
        found += [f"{name!r} is on {link.external_id} {count} times" for name, count in there.items() if count > 1]
        here = {one.file_name for one in held}
        found += [f"{name!r} of {link.external_id} is not here" for name in there if name not in here]
        gone = {copy.attachment_id for copy in files.copies if copy.gone}
        if link.incident_id == link.follows:  # one that came with a merge gets what comes from then on
            found += [
                f"{one.file_name!r} is not on {link.external_id}"
                for one in held
                if not one.problem and one.attachment_id not in gone and one.file_name not in there
            ]
        texts = Counter(url for url in world.links_made for text in ticket.comments if f"\n{url}\n" in text)
        found += [f"{url} is on {link.external_id} {count} times" for url, count in texts.items() if count > 1]
    names = Counter(one.file_name for one in _event(world, AttachmentAdded) if not getattr(one, "origin", ""))  # type: ignore[union-attr]
    found += [f"{name!r} was attached {count} times" for name, count in names.items() if count > 1]
    return found


def _replay(world: World) -> list[str]:
    """The log decided again gives the same record, byte for byte."""
    again = Intake()
    for messages in world.log:
        again.decide(messages)
    same = [(one.envelope.hash, one.value) for one in again.recorded]
    return [] if same == [(one.envelope.hash, one.value) for one in world.intake.recorded] else ["replay differs"]
