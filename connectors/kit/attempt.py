"""One attempt at one intent: look first where it may have been done already, then send."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from connectors.kit.contract import Connector, Integration
from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import Found, Ok, Outcome, PermanentFailure, TooLate, TransientFailure, Unknown
from streams.domain.events import Intent

_log = structlog.get_logger(__name__)


async def attempt(
    connectors: Mapping[str, Connector],
    http: ProviderHttp,
    integration: Integration | None,
    intent: Intent,
    number: int,
    *,
    is_late: bool = False,
) -> Outcome | TooLate:
    """Carry out an intent for the ``number``-th time and say what became of it; never raises.

    From the second attempt on the first may have worked and its answer been lost, so the provider is asked first. One
    that ``is_late`` is not sent any more.
    """
    connector = connectors.get(intent.connector)
    if integration is None or integration.connector != intent.connector:
        return PermanentFailure("the integration is disabled or gone")
    if connector is None or connector.sends is None or intent.action not in connector.sends.actions:
        return PermanentFailure(f"{intent.connector} has no action {intent.action!r}")
    try:
        if number > 1:
            match await connector.sends.look_up(http, integration, intent):
                case Found(reference):
                    return Ok(reference, "found from an earlier attempt")
                case Unknown(reason, retry_after_s):
                    return TransientFailure(f"look-up: {reason}", retry_after_s)
        return TooLate() if is_late else await connector.sends.send(http, integration, intent)
    except Exception as error:  # noqa: BLE001  the one place besides the partition loop: see below
        # A connector's defect must not stop the others' effects: counted as a transient attempt, so it has a bound.
        _log.exception("connector raised", intent_id=intent.intent_id, connector=intent.connector)
        return TransientFailure(f"defect: {type(error).__name__}")
