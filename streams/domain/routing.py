"""Which side effects an event causes: event and subscriptions to intents (R7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.domain import events, outputs
from streams.domain.envelope import Envelope, derive_id
from streams.domain.incident import Incident
from streams.domain.state import Subscription
from streams.domain.ticket_events import SyncRequested
from streams.domain.ticket_files import FILE_ACTIONS
from streams.domain.tickets import TicketRequest

PAGE_WORTH_MS = 3_600_000
"""How long an effect on a provider's incident is worth sending: later, its state has moved on without us."""


def intents(
    envelope: Envelope, event: events.Event, incident: Incident, subscriptions: Iterable[Subscription]
) -> Iterator[outputs.Intent]:
    """The intents that an event of an incident causes, one for each external object of each subscribed integration.

    Nothing goes back to the integration through which the event came.
    """
    if isinstance(event, SyncRequested):
        yield _about_ticket(envelope, event, incident)
        return
    via = getattr(event, "via", "")
    for subscription in subscriptions:
        action = next((action for type_, action in subscription.actions if type_ == envelope.type), "")
        if not action or subscription.integration_id == via:
            continue
        for external in incident.externals:
            if external.integration_id == subscription.integration_id:
                intent_id = derive_id(envelope.id, subscription.subscription_id, external.external_id)
                yield outputs.Intent(
                    intent_id=intent_id,
                    incident_id=incident.id,
                    connector=subscription.connector,
                    integration_id=subscription.integration_id,
                    action=action,
                    external_id=external.external_id,
                    idempotency_key=intent_id,
                    event_id=envelope.id,
                    created=envelope.recordedtime,
                    not_after=envelope.recordedtime + PAGE_WORTH_MS,
                    payload=_payload(event, incident),
                )


def _about_ticket(envelope: Envelope, event: SyncRequested, incident: Incident) -> outputs.Intent:
    """The intent that was planned with the event; it is worth carrying out whenever that becomes possible."""
    if event.action in FILE_ACTIONS:
        payload = {"marker": event.marker, **event.changes}
    else:
        payload = TicketRequest(event.marker, event.changes, event.expected, event.version, event.text).payload()
    return outputs.Intent(
        intent_id=event.intent_id,
        incident_id=incident.id,
        connector=event.connector,
        integration_id=event.integration_id,
        action=event.action,
        external_id=event.external_id,
        idempotency_key=event.intent_id,
        event_id=envelope.id,
        created=envelope.recordedtime,
        payload={"number": str(incident.number), **payload},
    )


def _payload(event: events.Event, incident: Incident) -> dict[str, str]:
    payload = {"number": str(incident.number), "title": incident.title, "status": incident.status}
    for name in ("actor", "text", "reason"):
        if value := getattr(event, name, ""):
            payload[name] = value
    return payload
