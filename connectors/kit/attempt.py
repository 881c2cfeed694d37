"""One attempt at one intent: look first where it may have been done already, then send."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

import structlog

from connectors.kit.contract import Connector, Integration, Sends
from connectors.kit.file_attempt import FileAttempt, FileReport, Store
from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import Found, Gone, Ok, Outcome, PermanentFailure, TooLate, TransientFailure, Unknown
from connectors.kit.ticket_attempt import TicketAttempt, TicketReport
from streams.domain.outputs import Intent
from streams.domain.ticket_files import FILE_ACTIONS
from streams.domain.tickets import TICKET_ACTIONS

_LEASE_RAN_OUT = TransientFailure("the lease ran out before anything was sent")

_log = structlog.get_logger(__name__)


async def attempt(
    connectors: Mapping[str, Connector],
    http: ProviderHttp,
    integration: Integration | None,
    intent: Intent,
    number: int,
    *,
    is_late: bool = False,
    is_held: Callable[[], bool] = lambda: True,
    store: Store | None = None,
    permalink: str = "",
) -> Outcome | TooLate | TicketReport | FileReport | Gone:
    """Carry out an intent for the ``number``-th time and say what became of it; never raises.

    From the second attempt on the first may have worked and its answer been lost, so the provider is asked first. One
    that ``is_late`` is not sent any more, nor one whose lease ``is_held`` no longer: somebody else may be sending it.
    ``store`` is where the bytes of files are, ``permalink`` the address of incidents for people.
    """
    connector = connectors.get(intent.connector)
    if integration is None or integration.connector != intent.connector:
        return PermanentFailure("the integration is disabled or gone")
    tickets = connector.tickets if connector is not None and intent.action in TICKET_ACTIONS else None
    files = connector.files if connector is not None and intent.action in FILE_ACTIONS else None
    sends = connector.sends if connector is not None else None
    try:
        if files is not None:
            if not is_held():
                return _LEASE_RAN_OUT
            return await FileAttempt(files, http, integration, intent, store).make()
        if tickets is not None:
            if not is_held():
                return _LEASE_RAN_OUT
            return await TicketAttempt(tickets, http, integration, intent, number, permalink).make()
        if sends is None or intent.action not in sends.actions:
            return PermanentFailure(f"{intent.connector} has no action {intent.action!r}")
        return await _sent(sends, http, integration, intent, number, is_late=is_late, is_held=is_held)
    except Exception as error:  # noqa: BLE001  the one place besides the partition loop: see below
        # A connector's defect must not stop the others' effects: counted as a transient attempt, so it has a bound.
        # A rendered traceback: with the exception itself, a console would show local variables, and they hold tokens.
        trace = traceback.format_exc()
        _log.error("connector raised", intent_id=intent.intent_id, connector=intent.connector, exception=trace)
        return TransientFailure(f"defect: {type(error).__name__}")


async def _sent(
    sends: Sends,
    http: ProviderHttp,
    integration: Integration,
    intent: Intent,
    number: int,
    *,
    is_late: bool,
    is_held: Callable[[], bool],
) -> Outcome | TooLate:
    if number > 1:
        match await sends.look_up(http, integration, intent):
            case Found(reference):
                return Ok(reference, "found from an earlier attempt")
            case Unknown(reason, retry_after_s):
                return TransientFailure(f"look-up: {reason}", retry_after_s)
    if is_late:
        return TooLate()
    if not is_held():
        return _LEASE_RAN_OUT
    return await sends.send(http, integration, intent)
