"""The only registry of message types: type, data class and the topic it travels on.

Schema files (``schemas/avro/<type>/<n>.avsc``), examples and topics are checked against it, none left over.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Literal

from streams.domain import (
    attachment_commands,
    attachment_events,
    commands,
    events,
    outputs,
    signals,
    ticket_commands,
    ticket_events,
)
from streams.domain.ticket_files import FILES_OBSERVED, FilesObserved, RecordFiles
from streams.domain.tickets import TICKET_OBSERVED, RecordTicket, TicketObserved

Topic = Literal["incident-intake", "incident-events", "outbox-intents", "command-results"]

SIGNAL = "com.incidents.signal.v1"
PROVIDER_INGESTED = "com.incidents.provider.ingested.v1"
INTENT = "com.incidents.intent.v1"
RESERVED_PREFIX = "com.incidents."
"""Types that only the product itself may send; of them, foreign producers may send ``SIGNAL`` alone."""


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """One message type of the product."""

    type: str
    data: builtins.type
    topics: tuple[Topic, ...]


def _command(verb: str, data: type) -> MessageSpec:
    return MessageSpec(f"com.incidents.command.{verb}.v1", data, ("incident-intake",))


def _config(what: str, data: type) -> MessageSpec:
    return MessageSpec(f"com.incidents.config.{what}.v1", data, ("incident-intake",))


def _event(name: str, data: type) -> MessageSpec:
    return MessageSpec(f"com.incidents.{name}.v1", data, ("incident-events",))


CATALOGUE: tuple[MessageSpec, ...] = (
    MessageSpec(SIGNAL, signals.Signal, ("incident-intake",)),
    MessageSpec(PROVIDER_INGESTED, signals.ProviderIngested, ("incident-intake", "incident-events")),
    MessageSpec(TICKET_OBSERVED, TicketObserved, ("incident-intake",)),
    MessageSpec(FILES_OBSERVED, FilesObserved, ("incident-intake",)),
    _command("declare", commands.Declare),
    _command("acknowledge", commands.Acknowledge),
    _command("change_state", commands.ChangeState),
    _command("assign", commands.Assign),
    _command("set_severity", commands.SetSeverity),
    _command("change_fields", commands.ChangeFields),
    _command("add_note", commands.AddNote),
    _command("merge", commands.Merge),
    _command("split", commands.Split),
    _command("fire_timer", commands.FireTimer),
    _command("record_effect", commands.RecordEffect),
    _command("release", commands.Release),
    _command("erase", commands.Erase),
    _command("record_ticket", RecordTicket),
    _command("record_files", RecordFiles),
    _command("link_ticket", ticket_commands.LinkTicket),
    _command("unlink_ticket", ticket_commands.UnlinkTicket),
    _command("resolve_conflict", ticket_commands.ResolveConflict),
    _command("reconcile_tickets", ticket_commands.ReconcileTickets),
    _command("attach_file", attachment_commands.AttachFile),
    _command("remove_attachment", attachment_commands.RemoveAttachment),
    _command("add_link", attachment_commands.AddLink),
    _command("remove_link", attachment_commands.RemoveLink),
    _config("mapping", ticket_commands.SetMapping),
    _config("subscription", commands.SetSubscription),
    _config("rule_set", commands.SetRuleSet),
    _config("rule_set_change", commands.ChangeRuleSet),
    _config("rule_application", commands.ApplyRules),
    _config("preferences", commands.SetPreferences),
    _event("declared", events.Declared),
    _event("alerts_attached", events.AlertsAttached),
    _event("alerts_repeated", events.AlertsRepeated),
    _event("alerts_resolved", events.AlertsResolved),
    _event("acknowledged", events.Acknowledged),
    _event("state_change", events.StateChange),
    _event("resolved", events.Resolved),
    _event("closed", events.Closed),
    _event("assigned", events.Assigned),
    _event("severity_changed", events.SeverityChanged),
    _event("field_changed", events.FieldChanged),
    _event("note_added", events.NoteAdded),
    _event("merged", events.Merged),
    _event("split", events.Split),
    _event("flapping", events.Flapping),
    _event("linked", events.Linked),
    _event("effect.delivered", events.EffectDelivered),
    _event("effect.failed", events.EffectFailed),
    _event("archived", events.Archived),
    _event("ticket.linked", ticket_events.TicketLinked),
    _event("ticket.unlinked", ticket_events.TicketUnlinked),
    _event("ticket.file_gone", ticket_events.TicketFileGone),
    _event("provider.sync_requested", ticket_events.SyncRequested),
    _event("provider.sync_completed", ticket_events.SyncCompleted),
    _event("provider.sync_failed", ticket_events.SyncFailed),
    _event("provider.ack", ticket_events.ProviderAck),
    _event("provider.conflict_detected", ticket_events.ConflictDetected),
    _event("provider.conflict_resolved", ticket_events.ConflictResolved),
    _event("attachment.added", attachment_events.AttachmentAdded),
    _event("attachment.removed", attachment_events.AttachmentRemoved),
    _event("link.added", attachment_events.LinkAdded),
    _event("link.removed", attachment_events.LinkRemoved),
    _event("intake.refused", events.IntakeRefused),
    _event("configured", events.Configured),
    MessageSpec(INTENT, outputs.Intent, ("outbox-intents",)),
    MessageSpec("com.incidents.command.accepted.v1", outputs.CommandAccepted, ("command-results",)),
    MessageSpec("com.incidents.command.rejected.v1", outputs.CommandRejected, ("command-results",)),
)

BY_TYPE = {spec.type: spec for spec in CATALOGUE}
TYPE_OF = {spec.data: spec.type for spec in CATALOGUE}
