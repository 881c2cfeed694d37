"""Keeps tickets in step: what a message changed is merged with what was seen, and the next intent is made of it.

One intent is under way for each ticket: what changes meanwhile is planned together when it is answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from streams.domain import events
from streams.domain import ticket_events as said
from streams.domain.attachment_events import AttachmentEvent
from streams.domain.attachments import HeldLink
from streams.domain.field_merge import Sides, Verdict, merge
from streams.domain.file_sync import FileSync
from streams.domain.incident import Incident
from streams.domain.lifecycle import FINAL, Status
from streams.domain.mapping import FieldMapping, TicketMapping
from streams.domain.taking import obstacle, taking
from streams.domain.ticket_conflicts import Conflicts, contested
from streams.domain.ticket_link import FieldLink, TicketLink, internal, ticket_id, with_field
from streams.domain.ticket_planning import TicketPlans

MAX_COMMENTS = 10
"""How many comments may wait for one ticket; more are recorded as dropped."""

_NO_TICKET_FOR = FINAL | {Status.DRAFT}


@dataclass(slots=True)
class TicketSync(TicketPlans):
    """The part of a decision that is about tickets."""

    taken: set[tuple[str, str]] = field(default_factory=set)

    @property
    def files(self) -> FileSync:
        """What is done about files and links."""
        return FileSync(self.state, self.recorder)

    def after(self) -> None:
        """Follow what the message has recorded so far: new tickets, comments, merges and changed fields."""
        if not len(self.state.mappings):
            return
        done = 0
        touched: dict[str, None] = {}
        while done < len(self.recorder.facts):
            fact = self.recorder.facts[done]
            done += 1
            if fact.incident_id and not isinstance(fact.event, said.TicketEvent):
                self._follow(fact.incident_id, fact.event)
                touched[fact.incident_id] = None
            if done == len(self.recorder.facts):
                for incident_id in touched:
                    self.advance_all(incident_id)
                touched.clear()

    def _follow(self, incident_id: str, event: events.Event) -> None:
        incident = self.state.incidents.get(incident_id)
        if incident is None or incident.archived_at:
            return
        if isinstance(event, events.Merged) and event.role == "source":
            self._rehome(incident, event)
        elif isinstance(event, events.NoteAdded):
            self._comment(incident_id, f"{event.text}\n\n{event.actor}, on INC-{incident.number}", event.via)
        elif isinstance(event, AttachmentEvent):
            self.files.follow(incident_id, event)
        elif not incident.merged_into:
            self._create_where_due(incident)

    def _create_where_due(self, incident: Incident) -> None:
        if incident.status in _NO_TICKET_FOR:
            return
        for mapping in self.state.mappings.values():
            if incident.severity in mapping.create_for and not self.ticket_of(incident.id, mapping.integration_id):
                self.create(incident, mapping)

    def ticket_of(self, incident_id: str, integration_id: str) -> TicketLink | None:
        """The incident's ticket in an integration: its own, or one that came with a merge."""
        own = self.state.tickets.get(ticket_id(incident_id, integration_id))
        if own is not None:
            return own
        links = (self.state.tickets.get(key) for key in self.state.ticket_index.of(incident_id))
        return next((link for link in links if link and link.integration_id == integration_id), None)

    def _rehome(self, source: Incident, event: events.Merged) -> None:
        """After a merge the source's tickets show the target; one that is lost stays where it was."""
        for key in self.state.ticket_index.of(source.id):
            link = self.state.tickets.get(key)
            target = self.state.incidents.get(event.other)
            if link is None or target is None or link.phase == "lost":
                continue
            self.put(link._replace(follows=target.id))
            how = said.TicketLinked(
                key, link.connector, link.integration_id, "merged", link.external_id, link.external_key, link.url
            )
            self.recorder.record(target.id, how)
            mapping = self.state.mappings.get(link.integration_id)
            if mapping is not None and mapping.comments in {"both", "out"}:
                self._queue(key, f"INC-{source.number} was merged into INC-{target.number}")
            self.advance(key)

    def _comment(self, incident_id: str, text: str, via: str) -> None:
        for key in self.state.ticket_index.of(incident_id):
            link = self.state.tickets.get(key)
            mapping = self.state.mappings.get(link.integration_id) if link else None
            if link and mapping and mapping.comments in {"both", "out"} and link.integration_id != via:
                self._queue(key, text)

    def _queue(self, key: str, text: str) -> None:
        link = self.state.tickets.get(key)
        if link is None or link.phase == "lost":
            return
        if len(link.comments) < MAX_COMMENTS:
            self.put(link._replace(comments=(*link.comments, text)))
            return
        detail = f"{MAX_COMMENTS} comments wait already; dropped: {text[:200]}"
        self.fail(link, "ticket_comment", "dropped", "", 0, detail)

    def advance_all(self, incident_id: str) -> None:
        """Bring all tickets of an incident on."""
        for key in self.state.ticket_index.of(incident_id):
            self.advance(key)
            self.files.advance(key)

    def advance(self, key: str) -> None:
        """Merge both sides of a ticket and ask for what is to be done next."""
        link = self.state.tickets.get(key)
        mapping = self.state.mappings.get(link.integration_id) if link else None
        if link is None or mapping is None or link.phase != "linked":
            return
        pushes = self._merged(key, mapping)
        link = self.state.tickets.get(key)
        if link is None or link.intent:
            return
        if pushes:
            self.write(link, mapping, pushes)
        elif link.comments:
            self.request(link, mapping, "ticket_comment", text=link.comments[0])
        elif (reference := self.files.next_link(link)) is not None:
            self._refer(link, mapping, reference)
        elif link.duplicates:
            text = f"A duplicate of {link.external_key or link.external_id}, which goes on instead."
            self.request(link, mapping, "ticket_retire", external_id=link.duplicates[0], text=text)
        elif link.unread:
            self.request(link, mapping, "ticket_read")

    def _refer(self, link: TicketLink, mapping: TicketMapping, reference: HeldLink) -> None:
        """Put a link on the ticket."""
        incident = self.state.incidents.get(link.follows)
        number = incident.number if incident else 0
        text = f"{reference.title}\n{reference.url}\n\n{reference.actor}, on INC-{number}"
        about = {"link_id": reference.link_id, "url": reference.url, "title": reference.title}
        self.request(link, mapping, "ticket_refer", changes=about, text=text)

    def read(self, key: str) -> None:
        """Have a ticket read as soon as nothing is under way."""
        link = self.state.tickets.get(key)
        if link is not None:
            self.put(link._replace(unread=True, checked_at=self.now))
            self.advance(key)

    def _merged(self, key: str, mapping: TicketMapping) -> list[FieldMapping]:
        """Take what is to be taken, until nothing more is; the fields to be written."""
        pushes: list[FieldMapping] = []
        pending = list(mapping.fields)
        while pending:
            link, one = self.state.tickets.get(key), pending.pop(0)
            if link is None or link.under_way(one.external_field):
                continue
            verdict, took = self._merge(link, mapping, one)
            if verdict == "push" and one not in pushes:
                pushes.append(one)
            if took:  # another field may show the same value of ours
                pending = [other for other in mapping.fields if other.field == one.field and other is not one] + pending
        return pushes

    def _merge(self, link: TicketLink, mapping: TicketMapping, one: FieldMapping) -> tuple[str, bool]:
        incident = self.state.incidents.get(link.follows)
        if incident is None:
            return "none", False
        ours, theirs = internal(incident, one), link.shown.get(one.external_field)
        known = link.field(one.external_field)
        if known.ours != ours:
            known = known._replace(ours=ours, ours_at=self.now)
        if known.forced and theirs != known.at_stake:
            known = known._replace(forced=False, at_stake="")  # it was decided about another value of theirs
        timers = self.state.preferences.timers
        sides = Sides(ours, theirs, lambda value: obstacle(incident, one.field, value, now=self.now, timers=timers))
        verdict = merge(_in_step(one, link), known, sides)
        if verdict.step == "none" and _differs_unseen(one, known, sides):
            why = "the two sides differ again as they did before; each keeps its value"
            verdict = Verdict("keep", "rewritten", why=why)
        self.put(with_field(link, known))
        conflicts = Conflicts(self, mapping)
        if verdict.step != "agree" and known.forced:
            return "push", False
        if verdict.step != "agree" and known.waiting:
            if verdict.step == "none":
                conflicts.close(link.ticket_id, one, "agreement", ours)
            else:
                conflicts.still_waiting(link.ticket_id, one, sides)
            return "none", False
        if verdict.step == "push" and contested(known, ours, theirs, self.now):
            why = f"{theirs!r} came back each time that {ours!r} was written; somebody has to decide"
            verdict = Verdict("wait", "contested", why=why)
        if verdict.step == "take" and (link.ticket_id, one.external_field) in self.taken:
            why = "another ticket owns this field too, and says otherwise; somebody has to decide"
            verdict = Verdict("wait", "contested", why=why)
        if verdict.step == "push" and link.intent:
            return "none", False  # it is decided when it can be sent
        return verdict.step, self._apply(conflicts, link.ticket_id, one, sides, verdict)

    def _apply(self, conflicts: Conflicts, key: str, one: FieldMapping, sides: Sides, verdict: Verdict) -> bool:
        """Carry a verdict out on our side; whether our value changed."""
        theirs = sides.theirs or ""
        if verdict.kind is not None:
            conflicts.detect(key, one, sides, verdict)
        match verdict.step:
            case "take":
                self.taken.add((key, one.external_field))
                self.take(key, one, verdict.value)
                self.agree(key, conflicts.mapping, one, verdict.value, theirs, "taken", sides.ours)
                conflicts.close(key, one, "theirs", verdict.value)
            case "agree":
                self.agree(key, conflicts.mapping, one, sides.ours, theirs, "agreed", sides.ours)
                conflicts.close(key, one, "agreement", sides.ours)
            case "push" if verdict.kind is None:
                conflicts.close(key, one, "ours", sides.ours)
        return verdict.step == "take"

    def take(self, key: str, one: FieldMapping, value: str, actor: str = "") -> None:
        """Make a value of theirs ours, by the incident's own rules; raises ``Rejected`` where they forbid it.

        ``actor`` is who decided so, where that was not the sync itself.
        """
        link = self.state.tickets.get(key)
        incident = self.state.incidents.get(link.follows) if link else None
        if link is None or incident is None:
            return
        by = f"{link.connector}:{link.updated_by}" if link.updated_by else f"integration:{link.integration_id}"
        timers = self.state.preferences.timers
        for event in taking(
            incident, one.field, value, actor=actor or by, via=link.integration_id, now=self.now, timers=timers
        ):
            self.recorder.record(incident.id, event)

    def agree(
        self, key: str, mapping: TicketMapping, one: FieldMapping, ours: str, theirs: str, result: str, previous: str
    ) -> None:
        """Note what both sides say from now on, as an event where it is news."""
        link = self.state.tickets.get(key)
        if link is None:
            return
        known = link.field(one.external_field)
        is_news = not known.has_base or (known.base_ours, known.base_theirs) != (ours, theirs)
        since = known.ours_at if known.ours == ours else self.now
        known = known._replace(
            has_base=True, base_ours=ours, base_theirs=theirs, ours=ours, ours_at=since, forced=False
        )
        self.put(with_field(link, known))
        if is_news:
            synced = said.SyncedField(one.field, one.external_field, ours, theirs, result, previous)
            self.recorder.record(
                link.follows,
                said.ProviderAck(
                    key,
                    link.connector,
                    link.integration_id,
                    link.external_id,
                    mapping.version,
                    link.version,
                    link.updated_by,
                    (synced,),
                ),
            )

    def release(self, incident_id: str) -> None:
        """Let go of the tickets of an incident that leaves memory; called before its last event is recorded."""
        for key in self.state.ticket_index.of(incident_id):
            link = self.state.tickets.get(key)
            if link is not None:
                detail = f"{link.action} was still under way" if link.intent else ""
                self.unlink(link, "archived", detail, "")

    def unlink(self, link: TicketLink, why: said.WhyNot, detail: str, actor: str) -> None:
        """Record that a ticket is followed no more. One that is lost stays remembered, so that none is made anew."""
        event = said.TicketUnlinked(
            link.ticket_id,
            link.connector,
            link.integration_id,
            why,
            link.external_id,
            link.external_key,
            detail,
            actor,
        )
        self.recorder.record(link.follows, event)
        self.files.forget(link.ticket_id, for_good=why == "archived")
        if why == "archived":
            self.state.tickets.drop(link.ticket_id)
        else:
            self.put(
                link._replace(
                    phase="lost",
                    intent="",
                    action="",
                    asked=(),
                    comments=(),
                    duplicates=(),
                    fields=(),
                    seen=None,
                    unread=False,
                )
            )


def _differs_unseen(one: FieldMapping, known: FieldLink, sides: Sides) -> bool:
    """Whether a difference that was kept has come back after something else had taken its conflict's place."""
    is_open = bool(known.conflict) or known.forced or not known.has_base
    return not is_open and sides.theirs is not None and not one.agrees(sides.ours, sides.theirs)


def _in_step(one: FieldMapping, link: TicketLink) -> FieldMapping:
    """A ticket that came with a merge owns nothing any more: the incident has its own, and both shall say the same."""
    is_guest = link.incident_id != link.follows
    return replace(one, source_of_truth="bidirectional") if is_guest and one.source_of_truth == "external" else one
