"""The Table API as a ticket system (``connectors.kit.tickets``)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp
from connectors.kit.intake import as_object
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Failure, FieldChange, Page, Ticket, Versioning
from connectors.servicenow import polling, queries
from connectors.servicenow.authentication import Authentication
from connectors.servicenow.calls import Instance, gone
from connectors.servicenow.config import ServiceNowConfig
from connectors.servicenow.records import ticket_of

CANCELED = "8"
_SYS_ID = re.compile(r"[0-9a-f]{32}")
_SHOWN_AS = "Incidents"


class ServiceNowTickets:
    """Incidents of the Table API. There is no conditional write; ``sys_mod_count`` tells afterwards who else wrote."""

    versioning: Versioning = "counter"
    rate_per_s = 8.0

    def __init__(self, authentication: Authentication | None = None) -> None:
        self._authentication = authentication or Authentication()

    async def create(
        self, http: ProviderHttp, integration: Integration, marker: str, fields: Mapping[str, str]
    ) -> Ticket | Failure:
        """Insert a record whose ``correlation_id`` is the marker."""
        at = self._instance(http, integration)
        if unknown := _unfollowed(at.config, fields):
            return unknown
        answer = await at.call("POST", queries.record(at.config), {**fields, **_marked(marker)})
        made = _ticket(at.config, answer)
        return PermanentFailure(made.reason) if isinstance(made, Gone) else made

    async def find(self, http: ProviderHttp, integration: Integration, marker: str) -> Sequence[Ticket] | Failure:
        """By ``correlation_id``, which is not unique; the Table API reads the database itself, so nothing lags."""
        at = self._instance(http, integration)
        answer = await at.call("GET", queries.with_marker(at.config, marker))
        if not isinstance(answer, Answer):
            return answer
        found = [ticket_of(at.config, as_object(one)) for one in polling.rows(answer)]
        return [one for one in found if one is not None and one.marker == marker]

    async def read(
        self, http: ProviderHttp, integration: Integration, external_id: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """The record now, by ``sys_id`` or by number."""
        at = self._instance(http, integration)
        if _SYS_ID.fullmatch(external_id):
            return _ticket(at.config, await at.call("GET", queries.record(at.config, external_id)))
        answer = await at.call("GET", queries.with_number(at.config, external_id.upper()))
        if not isinstance(answer, Answer):
            return answer
        found = [ticket_of(at.config, as_object(one)) for one in polling.rows(answer)]
        known = next((one for one in found if one is not None and one.external_key == external_id.upper()), None)
        return known or Gone(f"no record has the number {external_id[:40]}")

    async def write(
        self, http: ProviderHttp, integration: Integration, external_id: str, changes: Mapping[str, str]
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """Patch columns; the answer is the record after the business rules."""
        at = self._instance(http, integration)
        return _unfollowed(at.config, changes) or await _patch(at, external_id, changes)

    async def mark(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """Set ``correlation_id``, or empty it."""
        return await _patch(self._instance(http, integration), external_id, _marked(marker))

    async def history(
        self, http: ProviderHttp, integration: Integration, external_id: str, since: int
    ) -> Sequence[FieldChange]:
        """None: ``sys_audit`` takes an administrator's role; the count says that somebody wrote."""
        del http, integration, external_id, since
        return []

    async def comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str, *, public: bool
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Append to ``work_notes``, or to ``comments``, which the caller of the incident reads."""
        at = self._instance(http, integration)
        patched = await _patch(at, external_id, {"comments" if public else "work_notes": text})
        return "" if isinstance(patched, Ticket) else patched

    async def find_comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Found | NotFound | Unknown:
        """Search the journals as the form shows them: reading ``sys_journal_field`` would take more rights."""
        at = self._instance(http, integration)
        answer = await at.call("GET", queries.journals(external_id))
        if isinstance(answer, TransientFailure):
            return Unknown(answer.reason, answer.retry_after_s)
        if isinstance(answer, PermanentFailure) or not answer.succeeded:
            return NotFound()  # for good: sending will say why
        shown = as_object(as_object(answer.json()).get("result"))
        return Found() if any(marker in str(text) for text in shown.values()) else NotFound()

    async def retire(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str
    ) -> Ticket | Gone | TransientFailure | PermanentFailure:
        """Cancel with a work note and empty ``correlation_id``, in one write; what is so already is left alone."""
        now = await self.read(http, integration, external_id)
        if not isinstance(now, Ticket) or not now.marker:
            return now
        at = self._instance(http, integration)
        return await _patch(at, external_id, {"state": CANCELED, "work_notes": text, **_marked("")})

    async def list_changed(
        self, http: ProviderHttp, integration: Integration, cursor: Cursor, limit: int
    ) -> Page | Failure:
        """By time of change and ``sys_id``, with new journal entries and, where configured, deletions."""
        return await polling.page(self._instance(http, integration), cursor, limit, int(time.time() * 1000))

    def _instance(self, http: ProviderHttp, integration: Integration) -> Instance:
        config = ServiceNowConfig.model_validate(dict(integration.config))
        return Instance(http, integration, config, self._authentication)


async def _patch(
    at: Instance, external_id: str, values: Mapping[str, Any]
) -> Ticket | Gone | TransientFailure | PermanentFailure:
    return _ticket(at.config, await at.call("PATCH", queries.record(at.config, external_id), values))


def _ticket(config: ServiceNowConfig, answer: Answer | Failure) -> Ticket | Gone | TransientFailure | PermanentFailure:
    if not isinstance(answer, Answer):
        return answer
    if answer.status == HTTPStatus.NOT_FOUND:
        return gone(answer)
    ticket = ticket_of(config, as_object(as_object(answer.json()).get("result")))
    return ticket or TransientFailure("an answer without a record")


def _marked(marker: str) -> dict[str, str]:
    return {"correlation_id": marker, "correlation_display": _SHOWN_AS if marker else ""}


def _unfollowed(config: ServiceNowConfig, changes: Mapping[str, str]) -> PermanentFailure | None:
    """A column that is not followed is not written either: the instance would ignore a misspelt one in silence."""
    wrong = sorted(set(changes) - set(config.fields))
    return PermanentFailure(f"not among the followed columns (extra_fields): {', '.join(wrong)}") if wrong else None
