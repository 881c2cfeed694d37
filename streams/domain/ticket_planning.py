"""Plans intents about tickets: what each is to do is recorded and remembered as under way until it is answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams.domain import ticket_events as said
from streams.domain.envelope import derive_id
from streams.domain.incident import Incident
from streams.domain.mapping import FieldMapping, TicketMapping
from streams.domain.recording import Recorder
from streams.domain.state import TenantState
from streams.domain.ticket_link import Asked, FieldLink, TicketLink, internal, ticket_id, with_field, words
from streams.domain.tickets import TicketAction


@dataclass(slots=True)
class TicketPlans:
    """Asks for what is to be done at the providers of a tenant's tickets."""

    state: TenantState
    recorder: Recorder

    @property
    def now(self) -> int:
        """The tenant's recorded time."""
        return self.recorder.now

    def put(self, link: TicketLink) -> None:
        """Keep a link; one that did not change is not written."""
        if self.state.tickets.get(link.ticket_id) != link:
            self.state.tickets.put(link.ticket_id, link)

    def create(self, incident: Incident, mapping: TicketMapping, former: TicketLink | None = None) -> None:
        """Ask for the incident's ticket."""
        key = ticket_id(incident.id, mapping.integration_id)
        link = TicketLink(key, incident.id, incident.id, mapping.integration_id, mapping.connector, "creating")
        link = link._replace(requests=former.requests if former else 0)
        changes: dict[str, str] = {}
        asked = []
        for one in mapping.fields:
            ours = internal(incident, one)
            image = one.image(ours)
            if one.direction != "in" and image:
                changes |= {one.external_field: image, **one.required_with(image, words(incident))}
                asked.append(Asked(one.external_field, ours, image, mapped=True))
        self.request(link, mapping, "ticket_create", tuple(asked), changes)

    def link_existing(self, incident: Incident, mapping: TicketMapping, external_id: str, requests: int) -> None:
        """Ask to put the incident's marker on a ticket that is there."""
        key = ticket_id(incident.id, mapping.integration_id)
        link = TicketLink(
            key,
            incident.id,
            incident.id,
            mapping.integration_id,
            mapping.connector,
            "linking",
            external_id,
            requests=requests,
        )
        self.request(link, mapping, "ticket_link")

    def write(self, link: TicketLink, mapping: TicketMapping, pushes: Iterable[FieldMapping]) -> None:
        """Ask for our values of these fields to be written, with what they require."""
        incident = self.state.incidents.get(link.follows)
        if incident is None:
            return
        changes: dict[str, str] = {}
        asked: list[Asked] = []
        required: dict[str, str] = {}
        for one in pushes:
            ours = internal(incident, one)
            image = one.image(ours)
            if image is None:
                continue
            changes[one.external_field] = image
            asked.append(Asked(one.external_field, ours, image, mapped=True))
            required |= one.required_with(image, words(incident))
            link = with_field(link, _pushed(link.field(one.external_field), ours, link.shown, self.now))
        for name, value in required.items():
            if name not in changes and not link.shown.get(name):
                changes[name] = value
                asked.append(Asked(name, "", value, mapped=False))
        expected = {name: link.shown[name] for name in changes if name in link.shown}
        self.request(link, mapping, "ticket_update", tuple(asked), changes, expected)

    def request(
        self,
        link: TicketLink,
        mapping: TicketMapping,
        action: TicketAction,
        asked: tuple[Asked, ...] = (),
        changes: Mapping[str, str] | None = None,
        expected: Mapping[str, str] | None = None,
        text: str = "",
        external_id: str = "",
    ) -> None:
        """Plan an intent and remember that it is under way."""
        number = link.requests + 1
        intent = derive_id(link.ticket_id, str(number))
        self.put(link._replace(requests=number, intent=intent, action=action, asked=asked))
        ours = tuple(
            dict.fromkeys(
                one.field for one in mapping.fields if any(a.external_field == one.external_field for a in asked)
            )
        )
        self.recorder.record(
            link.follows,
            said.SyncRequested(
                link.ticket_id,
                intent,
                link.connector,
                link.integration_id,
                action,
                intent if action in {"ticket_comment", "ticket_refer"} else link.marker,
                mapping.version,
                external_id or link.external_id,
                ours,
                dict(changes or {}),
                dict(expected or {}),
                link.version,
                text,
            ),
        )

    def fail(
        self, link: TicketLink, action: str, kind: said.FailureKind, intent: str, attempts: int, detail: str
    ) -> None:
        """Record that an intent changed nothing."""
        self.recorder.record(
            link.follows,
            said.SyncFailed(
                link.ticket_id,
                intent,
                link.connector,
                link.integration_id,
                action,
                kind,
                attempts,
                link.external_id,
                detail,
            ),
        )


def _pushed(field: FieldLink, ours: str, shown: Mapping[str, str], now: int) -> FieldLink:
    """A field that is being written: whether it was changed back since the same value was written last."""
    theirs = shown.get(field.external_field)
    if field.pushed != ours:
        return field._replace(pushed=ours, back=0, back_since=now)
    if field.has_base and theirs is not None and theirs != field.base_theirs:
        return field._replace(back=field.back + 1)
    return field
