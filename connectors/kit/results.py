"""What the dispatcher reports to the intake, and how long it waits before it tries again."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_exponential_jitter

from connectors.kit.outbox import FinalState, Leased
from streams.codec import cloudevents
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import RecordEffect
from streams.domain.envelope import Envelope, derive_id
from streams.runtime.producer import ProducerRecord

SOURCE = "/dispatcher"
_back_off = wait_exponential_jitter(initial=1.0, max=300.0, exp_base=2, jitter=1.0)


def effect_record(
    topic: str, leased: Leased, status: FinalState, reference: str = "", detail: str = ""
) -> ProducerRecord:
    """The ``RecordEffect`` command for the intake; its id depends on the intent alone, so a repeat changes nothing."""
    intent = leased.intent
    envelope = Envelope(
        id=derive_id(intent.intent_id, "effect"),
        source=SOURCE,
        type=TYPE_OF[RecordEffect],
        tenantid=leased.tenant_id,
        causationid=intent.intent_id,
    )
    command = RecordEffect(
        incident_id=intent.incident_id,
        intent_id=intent.intent_id,
        connector=intent.connector,
        integration_id=intent.integration_id,
        action=intent.action,
        status=status,
        attempts=leased.attempt,
        external_ref=reference,
        detail=detail[:500],
    )
    value, headers = cloudevents.encode(envelope, command)
    return ProducerRecord(topic, leased.tenant_id.encode(), value, headers)


def delay_s(attempt: int, retry_after_s: float) -> float:
    """Seconds until the next attempt: what the provider asked for, or exponential with jitter, whichever is longer."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return max(retry_after_s, _back_off(state))
