"""incident.io's API as a ticket system (``connectors.kit.tickets``); https://api-docs.incident.io."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors.incidentio import reading
from connectors.incidentio.calls import Account, not_gone
from connectors.incidentio.config import FIELDS, IncidentIoConfig
from connectors.incidentio.incidents import marked, ticket_of
from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp
from connectors.kit.intake import as_object
from connectors.kit.outcome import Found, Gone, NotFound, PermanentFailure, TransientFailure, Unknown
from connectors.kit.tickets import Cursor, Failure, FieldChange, Page, Ticket, Versioning

Read = Ticket | Gone | TransientFailure | PermanentFailure

_CANCELED = "canceled"
_NO_NOTES = PermanentFailure("incident.io's API takes no notes: publish a mapping with comments: in")


class IncidentIoTickets:
    """Incidents of one account. There is no conditional write; updates tell who changed status and severity."""

    versioning: Versioning = "clock"
    rate_per_s = 15.0

    async def create(
        self, http: ProviderHttp, integration: Integration, marker: str, fields: Mapping[str, str]
    ) -> Ticket | Failure:
        """Make an incident; the marker is the idempotency key, so that one made before is answered again."""
        at = _account(http, integration)
        given = await _edit(at, fields)
        if not isinstance(given, dict):
            return given
        kind = {"incident_type_id": at.config.incident_type_id} if at.config.incident_type_id else {}
        made = {"idempotency_key": marker, "visibility": at.config.visibility, "mode": "standard", **kind}
        answer = not_gone(await at.call("POST", "/v2/incidents", {**given, **made, **marked(at.config, marker)}))
        return _shown(at, answer) if isinstance(answer, Answer) else answer

    async def find(self, http: ProviderHttp, integration: Integration, marker: str) -> Sequence[Ticket] | Failure:
        """None: text fields cannot be searched, and the idempotency key finds what was made."""
        del http, integration, marker
        return []

    async def read(self, http: ProviderHttp, integration: Integration, external_id: str) -> Read:
        """The incident now, by its id or the number of its reference."""
        return await _read(_account(http, integration), external_id)

    async def write(
        self, http: ProviderHttp, integration: Integration, external_id: str, changes: Mapping[str, str]
    ) -> Read:
        """Edit fields; severities and statuses are given by their ids, which are looked up each time."""
        at = _account(http, integration)
        given = await _edit(at, changes)
        return await _edited(at, external_id, given) if isinstance(given, dict) else given

    async def mark(self, http: ProviderHttp, integration: Integration, external_id: str, marker: str) -> Read:
        """Put the marker into the custom field, or empty it."""
        at = _account(http, integration)
        return await _edited(at, external_id, marked(at.config, marker))

    async def history(
        self, http: ProviderHttp, integration: Integration, external_id: str, since: int
    ) -> Sequence[FieldChange] | Gone | TransientFailure | PermanentFailure:
        """From the incident's updates."""
        return await reading.history(_account(http, integration), external_id, since)

    async def comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, text: str, *, public: bool
    ) -> str | Gone | TransientFailure | PermanentFailure:
        """Not possible; the failure says what to do about it."""
        del http, integration, external_id, text, public
        return _NO_NOTES

    async def find_comment(
        self, http: ProviderHttp, integration: Integration, external_id: str, marker: str
    ) -> Found | NotFound | Unknown:
        """There are none."""
        del http, integration, external_id, marker
        return NotFound()

    async def retire(self, http: ProviderHttp, integration: Integration, external_id: str, text: str) -> Read:
        """Cancel a duplicate and empty the custom field, in one edit; what is so already is left alone."""
        del text  # there is nowhere to say it
        at = _account(http, integration)
        now = await _read(at, external_id)
        if not isinstance(now, Ticket) or not now.marker:
            return now
        given = await _edit(at, {"status_category": _CANCELED})
        return await _edited(at, external_id, {**given, **marked(at.config, "")}) if isinstance(given, dict) else given

    async def list_changed(
        self, http: ProviderHttp, integration: Integration, cursor: Cursor, limit: int
    ) -> Page | Failure:
        """By time of change and id; incidents are never deleted, and messages come by webhook alone."""
        return await reading.page(_account(http, integration), cursor, limit, int(time.time() * 1000))


def _account(http: ProviderHttp, integration: Integration) -> Account:
    return Account(http, integration, IncidentIoConfig.model_validate(dict(integration.config)))


async def _read(at: Account, external_id: str) -> Read:
    number = external_id.upper().removeprefix("INC-")  # the API takes the number of a reference, not the reference
    answer = await at.call("GET", f"/v2/incidents/{quote(number if number.isdigit() else external_id, safe='')}")
    return _shown(at, answer) if isinstance(answer, Answer) else answer


async def _edited(at: Account, external_id: str, given: Mapping[str, Any]) -> Read:
    body = {"incident": given, "notify_incident_channel": False}
    answer = await at.call("POST", f"/v2/incidents/{quote(external_id, safe='')}/actions/edit", body)
    return _shown(at, answer) if isinstance(answer, Answer) else answer


def _shown(at: Account, answer: Answer) -> Ticket | TransientFailure:
    ticket = ticket_of(at.config, as_object(as_object(answer.json()).get("incident")))
    return ticket or TransientFailure("an answer without an incident")


async def _edit(at: Account, changes: Mapping[str, str]) -> dict[str, Any] | Failure:
    """Changes as the API takes them."""
    wrong = sorted(set(changes) - set(FIELDS))
    if wrong:
        return PermanentFailure(f"not among the followed fields: {', '.join(wrong)}")
    given: dict[str, Any] = {name: changes[name] for name in ("name", "summary") if name in changes}
    if "severity" in changes:
        severities = await at.listed("/v1/severities", "severities")
        chosen = _chosen(severities, "severity", "name", changes["severity"])
        if not isinstance(chosen, str):
            return chosen
        given["severity_id"] = chosen
    for name, key in (("status_category", "category"), ("status", "name")):  # a name says more than its category
        if name in changes:
            statuses = await at.listed("/v1/incident_statuses", "incident_statuses")
            chosen = _chosen(statuses, "status", key, changes[name])
            if not isinstance(chosen, str):
                return chosen
            given["incident_status_id"] = chosen
    return given


def _chosen(listed: list[dict[str, Any]] | Failure, what: str, key: str, value: str) -> str | Failure:
    """The id of the first, by rank, that has the value."""
    if not isinstance(listed, list):
        return listed
    ordered = sorted(listed, key=lambda one: (int(one.get("rank") or 0), str(one.get("id", ""))))
    found = next((str(one["id"]) for one in ordered if one.get(key) == value and one.get("id")), "")
    known = ", ".join(dict.fromkeys(str(one.get(key, "")) for one in ordered))
    return found or PermanentFailure(f"no {what} with {key} {value!r}; there are {known}")
