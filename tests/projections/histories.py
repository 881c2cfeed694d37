"""Hand-made records: the envelopes that the orchestrator would give to events, without the orchestrator."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import fastavro

import schemas
from projections.base import Record
from projections.decoding import record_of
from streams.codec import avro
from streams.domain import attachment_events as attached
from streams.domain import events, outputs
from streams.domain import ticket_events as tickets
from streams.domain.catalogue import TYPE_OF, Topic
from streams.domain.envelope import Envelope, derive_id
from streams.domain.signals import ProviderIngested
from tests.catalogue.reading import example_of

T0 = 1_790_000_000_000
"""Recorded time of the first event, milliseconds."""


class History:
    """Builds one partition's records: sequences, ids and recorded times follow as events are added."""

    def __init__(self, tenant: str = "acme", partition: int = 0, topic: Topic = "incident-events") -> None:
        self.tenant, self.partition, self.topic = tenant, partition, topic
        self.records: list[Record] = []
        self._sequences: Counter[str] = Counter()
        self.offset = 0

    def add(self, incident: str, data: Any, **attributes: Any) -> Record:
        """Append an event of the incident (``""``: of the tenant itself)."""
        subject = incident or f"tenant-{self.tenant}"
        self._sequences[subject] += 1
        number = len(self.records) + 1
        given = {
            "id": derive_id(subject, str(self._sequences[subject])),
            "sequence": self._sequences[subject],
            "tenantsequence": number,
            "recordedtime": T0 + number * 1000,
            **attributes,
        }
        envelope = Envelope(
            source="/incidents", type=TYPE_OF[type(data)], tenantid=self.tenant, subject=subject, **given
        )
        record = record_of(self.topic, self.partition, self.offset, envelope, data)
        self.offset += 1
        self.records.append(record)
        return record


def alert(name: str, key: str = "", at: int = T0, **fields: Any) -> events.Alert:
    """An attached signal."""
    fields = {"title": f"alert {name}", "recorded_time": at + 5, "service": "checkout", "severity": "SEV-2", **fields}
    return events.Alert(source="/pagerduty", id=name, alert_key=key or name, event_time=at, **fields)


def ref(name: str, key: str, at: int = T0) -> events.AlertRef:
    """A signal about an alert that is there."""
    return events.AlertRef(source="/pagerduty", id=name, alert_key=key, event_time=at, recorded_time=at + 5)


def declared(number: int = 1, **fields: Any) -> events.Declared:
    """The beginning of an incident."""
    given = {"title": f"incident {number}", "severity": "SEV-2", "status": "open", "service": "checkout", **fields}
    return events.Declared(number=number, **given)


def full(history: History) -> list[Record]:
    """A history with every type of event in it."""
    add = history.add
    add("", events.Configured("rule", "service", "user:ada", {"window_ms": "600000"}))
    add("a", declared(1))
    add("a", events.AlertsAttached((alert("a1", "k1"), alert("a2", "k2", links={"graph": "https://g/1"}))))
    add("b", declared(2, severity="SEV-1", service="search", related_to="a", relation="recurrence"))
    add("b", events.AlertsAttached((alert("b1", "k1", T0 + 10), alert("b2", "k9", T0 + 10))))
    add("a", events.AlertsRepeated((ref("a3", "k1", T0 + 20),)))
    add("a", events.AlertsResolved((ref("a4", "k2", T0 + 30),)))
    add(
        "", ProviderIngested("pagerduty", "i1", "incident.custom", raw=b"\xff", delivery_source="/pd", delivery_id="d1")
    )
    add("", events.IntakeRefused("/am", "x1", "com.incidents.signal.v1", "too-long", "title", "incident-intake", 0, 7))
    add("", events.IntakeRefused("", "", "", "not-a-cloudevent", "?", "incident-intake", 0, 8))
    add("", events.IntakeRefused("/api", "c1", "com.incidents.command.merge.v1", "r", "d", "incident-intake", 0, 9))
    add("a", events.Acknowledged("user:ada"))
    add("a", events.Assigned("user:bob", "", "user:ada"))
    add("a", events.SeverityChanged("SEV-1", "SEV-2", "user:ada"))
    add("a", events.FieldChanged("title", "Checkout is down", "incident 1", "user:ada"))
    add("a", events.NoteAdded("look at the graph", "user:ada"))
    add("a", events.StateChange("open", "mitigated", "user:ada"))
    add("a", events.EffectDelivered("intent-1", "pagerduty", "i1", "acknowledge"))
    add("a", events.EffectFailed("intent-2", "pagerduty", "i1", "note", attempts=5, detail="404"))
    add("a", events.Flapping("started", (ref("a2", "k2", T0 + 30),), "service", 5, 60_000, due=T0 + 90_000))
    add("a", events.Linked("effect", "b", "checkout", "search", ("checkout", "search"), 10, "shop:1"))
    add("b", events.Linked("cause", "a", "search", "checkout", ("checkout", "search"), 10, "shop:1"))
    add_ticket(history, "a")
    add_attachments(history, "a")
    add("a", events.Resolved("mitigated", "user:ada", due=T0 + 100_000))
    part = (events.SplitAlert("k9", 1, T0 + 10, T0 + 10, "alert b2"),)
    add("b", events.Split("source", "a", part, "user:ada", 1, reason="another trouble"))
    add("a", events.Split("target", "b", part, "user:ada", 1, reason="another trouble"))
    add("b", events.Merged("source", "a", "user:ada", alert_count=1, firing_count=1, due=T0 + 200_000))
    add("a", events.Merged("target", "b", "user:ada", alert_count=1, firing_count=1))
    add("a", events.AlertsResolved((ref("a5", "k9", T0 + 40),)))
    add("a", events.Closed("resolved", "closed", "system:scheduler", due=T0 + 300_000))
    add("b", events.Archived("system:scheduler"))
    return history.records


def add_attachments(history: History, incident: str) -> None:
    """Two files and two links, of which one each is taken away; the ids are the tenant's own."""
    one, two = (f"{history.tenant}-{incident}-{number}" for number in (1, 2))
    history.add(incident, attached.AttachmentAdded(one, "heap.txt", "text/plain", 3, "ab" * 32, "user:ada"))
    history.add(
        incident,
        attached.AttachmentAdded(
            two, "core", "application/x-core", 9, "", "jira:eve", "ticket", "i2", "ticket-1", "f1", "too large"
        ),
    )
    history.add(incident, attached.AttachmentRemoved(one, "user:ada"))
    history.add(incident, attached.LinkAdded(f"{one}-l", "https://graphs.example/1", "Graph", "user:ada"))
    history.add(incident, attached.LinkAdded(f"{two}-l", "https://graphs.example/2", "Logs", "user:ada"))
    history.add(incident, attached.LinkAdded(f"{two}-l", "https://graphs.example/2", "All logs", "user:bob"))
    history.add(incident, attached.LinkRemoved(f"{one}-l", "user:ada"))


def add_ticket(history: History, incident: str) -> None:
    """A ticket's whole life: made, written, in conflict, resolved, acknowledged, refused, and gone."""
    link = ("ticket-1", "servicenow", "i2")
    asked = tickets.SyncRequested("ticket-1", "intent-3", *link[1:], "ticket_create", "inc-ticket-1", 1)
    made = tickets.SyncCompleted(
        "ticket-1", "intent-3", *link[1:], "ticket_create", 1, external_id="s1", external_key="INC001", version=1,
        fields=(tickets.SyncedField("title", "short_description", "down", "down", "written"),),
        written=("short_description",),
    )  # fmt: skip
    conflict = tickets.ConflictDetected(
        "conflict-1",
        *link,
        "s1",
        "severity",
        "urgency",
        "both_changed",
        "bidirectional",
        "manual",
        1,
        "waiting",
        "SEV-1",
        "3",
    )
    history.add(incident, asked)
    history.add(incident, tickets.TicketLinked(*link, "created", "s1", "INC001", "https://tickets.example/s1"))
    history.add(incident, made)
    history.add(incident, conflict)
    history.add(
        incident, tickets.ConflictResolved("conflict-1", *link, "severity", "urgency", "ours", "SEV-1", "user:ada")
    )
    history.add(incident, tickets.ProviderAck(*link, "s1", 1, 2, "eve"))
    history.add(
        incident, tickets.SyncFailed("ticket-1", "intent-4", *link[1:], "ticket_update", "refused", 5, "s1", "403")
    )
    history.add(incident, tickets.TicketFileGone(*link, "attachment-1", "f1"))
    history.add(
        incident, tickets.SyncFailed("ticket-1", "intent-5", *link[1:], "ticket_attach", "refused", 1, "s1", "413")
    )
    history.add(incident, tickets.TicketUnlinked(*link, "gone", "s1", "INC001"))


def intent(name: str, **fields: Any) -> outputs.Intent:
    """A planned side effect."""
    given = {"connector": "pagerduty", "integration_id": "i1", "action": "acknowledge", "external_id": "P1", **fields}
    return outputs.Intent(name, "a", idempotency_key=name, event_id="e1", created=T0, payload={"text": "x"}, **given)


def examples_of(type_: str) -> list[Any]:
    """The data of the committed examples of a message type, by its newest schema."""
    number = schemas.versions(type_)[-1]
    writer = json.loads(schemas.schema_bytes(type_, number))
    values = [example_of(fastavro.parse_schema(writer), example) for _, example in schemas.examples(type_, number)]
    return [avro.decode(type_, avro.data_schema(type_, number), value) for value in values]
